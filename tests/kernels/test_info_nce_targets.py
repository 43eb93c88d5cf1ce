"""Left out negatives, soft targets and row weights against the whole matrix of logits in float64:
fastneg.kernels.info_nce_targets and what of it the kernels do."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from fastneg.kernels.info_nce import info_nce
from helpers.info_nce_definition import BACKENDS, DEVICE, definition, draw

ROWS, COUNT, EXTRA = 21, 70, 2


def asked(in_batch=False):
    """The options, each alone and several at once."""
    g = torch.Generator().manual_seed(1)
    count = ROWS if in_batch else COUNT
    mask = (torch.rand(ROWS, count, generator=g) < 0.3).to(DEVICE)
    labels = torch.randint(-3, 3, (ROWS,), generator=g).to(DEVICE)
    theirs = {} if in_batch else {"negative_labels": torch.arange(count, device=DEVICE) % 9 - 3}
    soft = (torch.rand(ROWS, count, generator=g) / count).to(DEVICE)
    if in_batch:
        soft.fill_diagonal_(0.0)
    weights = torch.rand(ROWS, generator=g).to(DEVICE)
    compared = ~mask * (labels[:, None] != theirs.get("negative_labels", labels))
    return {
        "mask": {"negatives_mask": mask},
        "labels": {"query_labels": labels, **theirs},
        "smoothing": {"label_smoothing": 0.2},
        "soft labels": {"soft_labels": soft},
        "weights": {"row_weights": weights},
        "all": {
            "negatives_mask": mask, "query_labels": labels, **theirs, "label_smoothing": 0.1,
            "soft_labels": soft * compared, "row_weights": weights,
        },
    }  # fmt: skip


def plain(tensors, temperature, options, reduction="mean"):
    """(loss, logits of which those left out are -inf)."""
    _, logits = definition(*tensors, temperature, 2.0)
    count = logits.shape[1] - 1 - EXTRA
    hidden = torch.zeros_like(logits, dtype=torch.bool)
    shared = hidden[:, 1 : 1 + count]
    if tensors[2] is None:
        shared.fill_diagonal_(True)
    shared |= options.get("negatives_mask", torch.zeros_like(shared))
    if "query_labels" in options:
        own = options["query_labels"]
        shared |= own[:, None] == options.get("negative_labels", own)
    target = torch.zeros_like(logits)
    soft = options.get("soft_labels", torch.zeros_like(shared, dtype=logits.dtype))
    target[:, 1 : 1 + count] = soft
    target[:, 0] = 1 - soft.sum(1)
    smoothing, compared = options.get("label_smoothing", 0.0), ~hidden
    target = (1 - smoothing) * target + smoothing * compared / compared.sum(1, keepdim=True)
    lse = logits.masked_fill(hidden, -math.inf).logsumexp(1)
    rows = lse - (target * logits.masked_fill(hidden, 0.0)).sum(1)
    weights = options.get("row_weights", torch.ones_like(rows))
    loss = {"mean": (rows * weights).sum() / weights.sum(), "sum": (rows * weights).sum()}
    return loss.get(reduction, rows * weights), logits.masked_fill(hidden, -math.inf)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("in_batch", [False, True])
@pytest.mark.parametrize("name", asked())
def test_loss_ranks_and_every_gradient(backend, in_batch, name):
    options = asked(in_batch)[name]
    tensors = [
        None if t is None else t.requires_grad_()
        for t in draw(ROWS, None if in_batch else COUNT, 24, EXTRA)
    ]
    exact = [None if t is None else t.detach().double().requires_grad_() for t in tensors]
    heat = torch.tensor(0.2, device=DEVICE, requires_grad=True)
    heat64 = heat.detach().double().requires_grad_()
    out = info_nce(
        *tensors[:3], temperature=heat, extra_negatives=tensors[3], extra_scale=2.0,
        return_stats=True, backend=backend, **options,
    )  # fmt: skip
    wide = {k: v.double() if k in ("soft_labels", "row_weights") else v for k, v in options.items()}
    loss, logits = plain(exact, heat64, wide)
    out.loss.backward()
    loss.backward()
    torch.testing.assert_close(out.loss.double(), loss, rtol=1e-5, atol=1e-6)
    assert torch.equal(out.rank, (logits[:, 1:] > logits[:, :1]).sum(1))
    torch.testing.assert_close(out.lse.double(), logits.logsumexp(1), rtol=1e-5, atol=1e-6)
    for ours, truth in zip([*tensors, heat], [*exact, heat64], strict=True):
        if ours is not None:
            torch.testing.assert_close(ours.grad.double(), truth.grad, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("name", asked())
def test_gradcheck(name):
    options = {
        key: value.double() if torch.is_tensor(value) and value.is_floating_point() else value
        for key, value in asked()[name].items()
    }
    leaves = [t.double().requires_grad_() for t in draw(ROWS, COUNT, 4, EXTRA)]
    call = lambda q, k, n, e: info_nce(
        q, k, n, temperature=0.5, extra_negatives=e, extra_scale=2.0, reduction="sum", **options
    )
    assert torch.autograd.gradcheck(call, leaves, fast_mode=True)


def test_targets_are_those_of_torch():
    """Its own smoothing and its own soft labels, on the matrix of logits."""
    tensors = [t.double() for t in draw(ROWS, COUNT, 24)[:3]]
    soft = asked()["soft labels"]["soft_labels"].double()
    _, logits = definition(*tensors, None, 0.2, 1.0)
    classes = torch.zeros(ROWS, dtype=torch.long, device=DEVICE)
    call = lambda **options: info_nce(*tensors, temperature=0.2, **options)
    smooth = cross_entropy(logits, classes, label_smoothing=0.3)
    torch.testing.assert_close(call(label_smoothing=0.3), smooth)
    target = torch.cat([1 - soft.sum(1, keepdim=True), soft], 1)
    torch.testing.assert_close(call(soft_labels=soft), cross_entropy(logits, target))
    both = cross_entropy(logits, target, label_smoothing=0.3)
    torch.testing.assert_close(call(soft_labels=soft, label_smoothing=0.3), both)


@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_weighted_reductions(reduction):
    tensors, options = [t.double() for t in draw(ROWS, COUNT, 24, EXTRA)], asked()["weights"]
    options = {"row_weights": options["row_weights"].double()}
    loss, _ = plain(tensors, 0.2, options, reduction)
    extra = {"extra_negatives": tensors[3], "extra_scale": 2.0}
    found = info_nce(*tensors[:3], temperature=0.2, reduction=reduction, **extra, **options)
    torch.testing.assert_close(found, loss)


def test_weights_that_are_all_zero_and_of_other_dtypes():
    query, positive, negatives, _ = draw(6, 20, 8)
    query.requires_grad_()
    call = lambda weights: info_nce(query, positive, negatives, row_weights=weights)
    nothing = call(torch.zeros(6, device=DEVICE))
    nothing.backward()
    assert nothing == 0 and not query.grad.any()
    expected = info_nce(query, positive, negatives)
    # the sum of these leaves float16
    for weights in (torch.full((6,), 6e4).half(), torch.full((6,), 2.0).double()):
        found = call(weights.to(DEVICE))
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("normalised", [False, True])
def test_a_row_that_is_compared_with_nothing_has_no_loss(backend, normalised):
    query, positive, negatives, _ = draw(5, 40, 16)
    query.requires_grad_()
    mask = torch.zeros(5, 40, dtype=torch.bool, device=DEVICE)
    mask[2] = True
    rows = info_nce(
        query, positive, negatives, temperature=0.2, negatives_mask=mask, reduction="none",
        normalised=normalised, backend=backend,
    )  # fmt: skip
    rows.sum().backward()
    assert (rows == 0).tolist() == [False, False, True, False, False]
    assert not query.grad[2].any() and query.grad[1].any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_mask_of_any_strides(backend):
    query, positive, negatives, _ = draw(5, 40, 16)
    mask = asked()["mask"]["negatives_mask"][:5, :40]
    call = lambda mask: info_nce(
        query, positive, negatives, temperature=0.2, negatives_mask=mask, backend=backend
    )
    assert torch.equal(call(mask), call(mask.t().contiguous().t()))
    assert torch.equal(call(mask[:1].expand(5, -1)), call(mask[:1].repeat(5, 1)))


Q, K, NEG = draw(6, 20, 16)[:3]
LABELS = torch.arange(6, device=DEVICE)
MISTAKES = [
    ({"negatives_mask": torch.ones(6, 19, dtype=torch.bool)}, r"negatives_mask is \(6, 19\)"),
    ({"negatives_mask": torch.ones(6, 20)}, "negatives_mask has dtype torch.float32: bool"),
    ({"negatives_mask": torch.ones(20, dtype=torch.bool)}, r"negatives_mask are \(20,\)"),
    ({"query_labels": LABELS}, "negative_labels is None but the other labels"),
    ({"negative_labels": LABELS}, "query_labels is None but the other labels"),
    ({"query_labels": LABELS, "negative_labels": LABELS}, r"negative_labels is \(6,\)"),
    ({"query_labels": LABELS.float(), "negative_labels": LABELS}, "whole numbers"),
    ({"label_smoothing": 1.0}, "label_smoothing is 1.0"),
    ({"label_smoothing": "a"}, "label_smoothing is 'a'"),
    ({"soft_labels": torch.ones(6, 6)}, r"soft_labels is \(6, 6\)"),
    ({"row_weights": torch.ones(5)}, r"row_weights is \(5,\)"),
    ({"row_weights": torch.ones(6, dtype=torch.long)}, "row_weights has dtype torch.int64"),
]


@pytest.mark.parametrize(("options", "message"), MISTAKES)
def test_a_callers_mistake_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        info_nce(Q, K, NEG, **options)
