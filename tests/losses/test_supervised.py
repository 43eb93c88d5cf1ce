"""The supervised contrastive loss against its definition in float64, and against NT-Xent."""

import pytest
import torch

from fastneg.losses import nt_xent
from fastneg.losses.supervised import supervised_contrastive


def definition(features, labels, temperature):
    """Equation 2 of the paper with whole matrices; rows without a positive are left out."""
    images, views, _ = features.shape
    rows = features.flatten(0, 1)
    own = torch.arange(images) if labels is None else labels
    label = own[:, None].expand(images, views).flatten()
    logits = rows @ rows.T / temperature
    others = ~torch.eye(len(rows), dtype=torch.bool)
    lse = logits.masked_fill(~others, -torch.inf).logsumexp(1)
    positive = (label[:, None] == label) & others
    kept = positive.any(1)
    loss = lse - (logits * positive).sum(1) / positive.sum(1).clamp_min(1)
    return loss[kept].mean() if kept.any() else logits.sum() * 0


def draw(images, views, dim=16, dtype=torch.float64, seed=0):
    g = torch.Generator().manual_seed(seed)
    rows = torch.randn(images, views, dim, generator=g, dtype=torch.float64)
    return torch.nn.functional.normalize(rows, dim=2).to(dtype)


CASES = {
    "views": (6, 2, None),
    "three views": (5, 3, None),
    "one view, labels": (9, 1, [0, 1, 0, 2, 1, 1, 0, 2, 2]),
    "views and labels": (6, 2, [3, -1, 3, 3, 7, -1]),
    "one class": (4, 2, [5, 5, 5, 5]),
    "a row without positives": (5, 1, [0, 0, 1, 2, 2]),
    "no positives": (4, 1, [0, 1, 2, 3]),
    "two rows": (1, 2, None),
    "large labels": (4, 2, [2**40, 2**40, 7, -(2**40)]),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("temperature", [0.07, 1.0, 0.005])
def test_value_and_gradients(case, temperature):
    images, views, labels = CASES[case]
    labels = None if labels is None else torch.tensor(labels)
    results = []
    for loss_of in (definition, lambda x, y, t: supervised_contrastive(x, y, temperature=t)):
        features = draw(images, views).requires_grad_()
        heat = torch.tensor(temperature, dtype=torch.float64, requires_grad=True)
        loss = loss_of(features, labels, heat)
        loss.backward()
        results.append((loss.detach(), features.grad, heat.grad))
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)


def test_they_are_supcontrasts_up_to_its_factor():
    """SupContrast writes the loss as -T / 0.07 times the mean log-probability of the positives."""
    features, labels, temperature = draw(6, 2), torch.tensor([0, 1, 0, 2, 2, 1]), 0.2
    rows, label = features.transpose(0, 1).flatten(0, 1), labels.repeat(2)
    logits = rows @ rows.T / temperature
    logits = logits.masked_fill(torch.eye(12, dtype=torch.bool), -torch.inf)
    positive = (label[:, None] == label) & logits.isfinite()
    log_share = logits.log_softmax(1).masked_fill(~positive, 0.0)
    theirs = -temperature / 0.07 * (log_share.sum(1) / positive.sum(1)).mean()
    ours = supervised_contrastive(features, labels, temperature=temperature)
    torch.testing.assert_close(ours * temperature / 0.07, theirs)


def test_two_views_without_labels_are_nt_xent():
    features = draw(7, 2)
    expected = nt_xent(features[:, 0], features[:, 1], temperature=0.2)
    found = supervised_contrastive(features, temperature=0.2)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_the_order_of_images_does_not_matter():
    features, labels = draw(8, 2), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    mixed = supervised_contrastive(features[order], labels[order])
    torch.testing.assert_close(mixed, supervised_contrastive(features, labels))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_half_precision_is_the_definition_of_the_rounded_features(dtype):
    features = draw(12, 2, dtype=dtype)
    labels = torch.arange(12) % 4
    found = supervised_contrastive(features, labels, temperature=0.1)
    assert found.dtype == torch.float32
    expected = definition(features.double(), labels, 0.1)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_under_autocast_all_terms_are_of_the_same_rounded_rows():
    features, labels = draw(12, 2, dtype=torch.float32).requires_grad_(), torch.arange(12) % 4
    rounded = features.detach().bfloat16().double().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = supervised_contrastive(features, labels, temperature=0.02)
    expected = definition(rounded, labels, 0.02)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss.double(), expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(features.grad.double(), rounded.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("features", "labels", "said"),
    [
        (torch.zeros(4, 8), None, r"\(N, V, D\)"),
        ([1, 2], None, r"\(N, V, D\)"),
        (torch.zeros(1, 1, 8), torch.zeros(1, dtype=torch.long), "two or more"),
        (torch.zeros(4, 1, 8), None, "no row has a positive"),
        (torch.zeros(4, 2, 8), torch.zeros(3, dtype=torch.long), r"\(4,\) were expected"),
        (torch.zeros(4, 2, 8), torch.zeros(4), "whole numbers"),
        (torch.zeros(4, 2, 8), [0, 1, 2, 3], "whole numbers"),
        (torch.zeros(4, 2, 8).int(), None, "features has dtype torch.int32"),
        (torch.zeros(4, 2, 0), None, r"features is \(4, 2, 0\): at least one column"),
    ],
)
def test_wrong_arguments_are_named(features, labels, said):
    with pytest.raises(ValueError, match=said):
        supervised_contrastive(features, labels)
    with pytest.raises(ValueError, match="temperature"):
        supervised_contrastive(torch.zeros(4, 2, 8), temperature=0.0)
