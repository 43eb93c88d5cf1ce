"""SupCon with non-semantic negatives against its definition written out in float64."""

import copy

import pytest
import torch
import torch.nn.functional as F

from fastneg.data import BetonReader
from fastneg.errors import TrainingError
from fastneg.losses import supervised_contrastive
from fastneg.methods.supcon_torch import SupCon
from fastneg.recipes.presets import tiny_cpu_supcon
from fastneg.training.checks import check_data
from fastneg.training.trainer import pretrain
from helpers.pretraining import rows, settings

LABELS = torch.tensor([3, 1, 3, 3, 7])


def build(**changes):
    torch.manual_seed(0)
    return SupCon(tiny_cpu_supcon().replace(**{"feature_dim": 16, "alpha": 1.5, **changes}))


def plain_loss(features, labels, temperature, negatives=None, alpha=1.0):
    """Equation 2, row by row: features (N, V, D), negatives (N, M, D) of each image."""
    rows = [(features[i, v], i, v) for v in range(features.shape[1]) for i in range(len(features))]
    losses = []
    for view, image, place in rows:
        others = [row for row in rows if row[1:] != (image, place)]
        logits = [view @ other / temperature for other, _, _ in others]
        wide = logits + (
            [] if negatives is None else [alpha * view @ t / temperature for t in negatives[image]]
        )
        denominator = torch.stack(wide).logsumexp(0)
        own = [
            logit
            for logit, (_, i, _) in zip(logits, others, strict=True)
            if labels[i] == labels[image]
        ]
        losses.append(torch.stack([denominator - logit for logit in own]).mean())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("negatives", ["none", "patch"])
def test_loss_and_gradient_are_the_definition(float64, negatives):
    method = build(negatives=negatives)
    reference = copy.deepcopy(method)
    first, second, more = (torch.randn(5, 3, 32, 32) for _ in range(3))
    extra = None if negatives == "none" else more[:, None]
    output = method(first, second, extra, None, LABELS)
    output.loss.backward()
    views = reference.query_encoder(torch.cat([first, second])).unflatten(0, (2, 5)).transpose(0, 1)
    t = None if extra is None else reference.query_encoder(more)[:, None]
    loss = plain_loss(views, LABELS, 0.1, t, 1.5)
    loss.backward()
    torch.testing.assert_close(output.loss, loss)
    for ours, theirs in zip(method.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-8, atol=1e-12)


def test_images_without_a_label_have_their_own_views_alone_as_positives(float64):
    """Not each other: -1 is no class."""
    method = build(negatives="none")
    first, second = (torch.randn(5, 3, 32, 32) for _ in range(2))
    losses = [
        method(first, second, None, None, torch.tensor(labels)).loss
        for labels in ([0, -1, 1, 0, -1], [0, 5, 1, 0, 6], [0, 5, 1, 0, 5])
    ]
    assert losses[0] == losses[1] != losses[2]


def plain_share(features, negatives, temperature, alpha):
    """Of the softmax over all other views and the image's negatives, what the latter take, averaged
    over all views."""
    rows = features.transpose(0, 1).flatten(0, 1)
    every = (rows @ rows.t() / temperature).exp()
    every = every.masked_fill(torch.eye(len(rows), dtype=torch.bool), 0).sum(1)
    taken = torch.einsum("nvd,nmd->vnm", features, negatives).flatten(0, 1)
    taken = (alpha * taken / temperature).exp().sum(1)
    return (taken / (every + taken)).mean()


@pytest.mark.parametrize("labels", [LABELS, None])
def test_the_share_of_the_negatives_is_of_all_the_logits_of_all_views(float64, labels):
    method = build()
    first, second, more = (torch.randn(5, 3, 32, 32) for _ in range(3))
    output = method(first, second, more[:, None], None, labels)
    views = method.query_encoder(torch.cat([first, second])).unflatten(0, (2, 5)).transpose(0, 1)
    share = plain_share(views, method.query_encoder(more)[:, None], 0.1, 1.5)
    torch.testing.assert_close(output.stats["negative_share"], share.detach())


def test_negatives_may_share_the_views_batch_statistics(float64):
    method = build(negatives_bn="joint")
    first, second, more = (torch.randn(5, 3, 32, 32) for _ in range(3))
    output = method(first, second, more[:, None], None, LABELS)
    encoded = method.query_encoder(torch.cat([first, second, more])).unflatten(0, (3, 5))
    views = encoded[:2].transpose(0, 1)
    loss = plain_loss(views, LABELS, 0.1, encoded[2][:, None], 1.5)
    torch.testing.assert_close(output.loss, loss)


def test_the_rows_of_other_processes_are_compared_too():
    """Two halves of a batch, each with the other half behind its own, give the whole's mean."""
    torch.manual_seed(1)
    views = F.normalize(torch.randn(6, 2, 8, dtype=torch.float64), dim=-1)
    extra = F.normalize(torch.randn(6, 1, 8, dtype=torch.float64), dim=-1)
    labels = torch.tensor([0, 1, 0, 1, 1, 2])
    options = {"temperature": 0.3, "extra_scale": 2.0}
    whole = supervised_contrastive(views, labels, extra_negatives=extra, **options)
    halves = []
    for own in (slice(0, 3), slice(3, 6)):
        order = [*range(6)[own], *(i for i in range(6) if i not in range(6)[own])]
        everyone = views[order], labels[order]
        part = {"extra_negatives": extra[own], **options}
        halves.append(supervised_contrastive(views[own], labels[own], everyone, **part))
    torch.testing.assert_close(sum(halves) / 2, whole)
    torch.testing.assert_close(whole, plain_loss(views, labels, 0.3, extra, 2.0))


def test_a_run_learns_from_the_labels_of_its_file(beton, tmp_path):
    """Several processes are in test_gather.py."""
    changes = {"method": "supcon", "bn": "none", "bn_splits": None, "queue_size": None}
    config = settings(beton, tmp_path / "one", epochs=1, **changes)
    assert pretrain(config).finished
    assert all(row["loss"] > 0 for row in rows(tmp_path / "one"))
    with BetonReader(beton) as reader:
        reader.labels = None
        with pytest.raises(TrainingError, match="supcon learns from labels"):
            check_data(reader, config)
