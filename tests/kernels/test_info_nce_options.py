"""InfoNCE's options, statistics and layouts on both backends; what a caller's mistake is told."""

import math

import pytest
import torch

from fastneg.kernels.info_nce import info_nce
from helpers.info_nce_definition import (
    BACKENDS,
    DEVICE,
    definition,
    draw,
    loss_and_grads,
)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("count", "private"), [(300, 0), (300, 5), (None, 0), (None, 3), (0, 4)])
def test_statistics(backend, count, private):
    tensors = draw(37, count, 32, private)
    scale = {"extra_scale": 2.0} if private else {}
    loss, logits = definition(
        *(None if t is None else t.double() for t in tensors), 0.1, scale.get("extra_scale", 1.0)
    )
    out = info_nce(
        *tensors[:3],
        temperature=0.1,
        extra_negatives=tensors[3],
        return_stats=True,
        reduction="none",
        backend=backend,
        **scale,
    )
    rank = (logits[:, 1:] > logits[:, :1]).sum(1)
    assert (
        out.rank.dtype == torch.int64
        and torch.equal(out.rank, rank)
        and (count == 0 or rank.max() > 5)
    )
    torch.testing.assert_close(out.loss.double(), loss, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(out.lse.double(), logits.logsumexp(1), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(out.positive_logit.double(), logits[:, 0], rtol=1e-5, atol=1e-6)
    assert out.acc1.shape == () and out.acc1.item() == pytest.approx(
        (rank == 0).float().mean().item()
    )
    assert out.acc5.item() == pytest.approx((rank < 5).float().mean().item())


@pytest.mark.parametrize("backend", BACKENDS)
def test_ranks_are_detached_and_the_loss_is_the_plain_one(backend):
    query, positive, negatives, _ = draw(9, 40, 16)
    query.requires_grad_()
    out = info_nce(query, positive, negatives, return_stats=True, backend=backend)
    assert not any(tensor.requires_grad for tensor in (out.rank, out.acc1, out.acc5))
    assert all(tensor.requires_grad for tensor in (out.loss, out.lse, out.positive_logit))
    assert torch.equal(out.loss, info_nce(query, positive, negatives, backend=backend))
    assert torch.equal(out.loss, info_nce(query.detach(), positive, negatives, backend=backend))


@pytest.mark.parametrize("backend", BACKENDS)
def test_reductions(backend):
    query, positive, negatives, _ = draw(9, 40, 16)
    rows = info_nce(query, positive, negatives, reduction="none", backend=backend)
    assert rows.shape == (9,) and rows.dtype == torch.float32
    torch.testing.assert_close(
        info_nce(query, positive, negatives, reduction="sum", backend=backend), rows.sum()
    )
    torch.testing.assert_close(info_nce(query, positive, negatives, backend=backend), rows.mean())


@pytest.mark.parametrize("backend", BACKENDS)
def test_layouts_and_strides(backend):
    query, positive, negatives, extras = draw(21, 70, 24, 3)
    heat = torch.tensor(0.1, device=DEVICE)
    wide = lambda tensor: torch.stack([tensor, torch.full_like(tensor, math.nan)], -1).flatten(-2)[
        ..., ::2
    ]

    def run(negatives, prepare=lambda tensor: tensor, **options):
        function = lambda q, k, n, e, t: info_nce(
            prepare(q),
            prepare(k),
            prepare(n),
            temperature=t,
            extra_negatives=prepare(e),
            backend=backend,
            **options,
        )
        return loss_and_grads(function, (query, positive, negatives, extras), heat)

    plain, strided, moco = (
        run(negatives),
        run(negatives, wide),
        run(negatives.t().contiguous(), negatives_layout="dk"),
    )
    moco[3] = moco[3].t()
    for one, two, three in zip(plain, strided, moco, strict=True):
        torch.testing.assert_close(two, one, rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(three, one, rtol=1e-5, atol=1e-7)


def test_precision_of_float32_products():
    """bf16 rounds the inputs and nothing else: the loss is that of the rounded inputs, exactly as
    half-precision inputs give it."""
    query, positive, negatives, extras = draw(9, 40, 16, 2)
    rounded = info_nce(
        query.bfloat16(),
        positive.bfloat16(),
        negatives.bfloat16(),
        extra_negatives=extras.bfloat16(),
    )
    assert torch.equal(
        info_nce(query, positive, negatives, extra_negatives=extras, precision="bf16"), rounded
    )
    assert not torch.equal(info_nce(query, positive, negatives, extra_negatives=extras), rounded)
    with torch.autocast(DEVICE, torch.bfloat16):
        assert torch.equal(info_nce(query, positive, negatives, extra_negatives=extras), rounded)
        ieee = info_nce(query, positive, negatives, extra_negatives=extras, precision="ieee")
    assert torch.equal(ieee, info_nce(query, positive, negatives, extra_negatives=extras))


@pytest.mark.parametrize("backend", BACKENDS)
def test_mixed_dtypes_are_promoted(backend):
    query, positive, negatives, _ = draw(9, 40, 16)
    half = negatives.half()
    query.requires_grad_()
    half.requires_grad_()
    loss = info_nce(query, positive.bfloat16(), half, backend=backend)
    loss.backward()
    assert query.grad.dtype == torch.float32 and half.grad.dtype == torch.float16
    exact = definition(
        query.double(), positive.bfloat16().double(), half.double(), None, 0.07, 1.0
    )[0].mean()
    assert loss.item() == pytest.approx(exact.item(), rel=1e-5)


Q, K, NEG, EXTRA = draw(6, 20, 16, 2)
MISTAKES = [
    ((Q[0], K, NEG), {}, "query is .16,.: .N, D."),
    ((Q[:0], K[:0], NEG), {}, "query is .0, 16."),
    ((Q, K[:5], NEG), {}, "positive is .5, 16. but query is .6, 16."),
    ((Q, K, NEG[:, :8]), {}, "query is .6, 16. on .* but negatives are .20, 8. on"),
    ((Q, K, NEG[0]), {}, "negatives are .16,."),
    ((Q, K, NEG), {"negatives_layout": "dk"}, "both need the same feature dimension"),
    ((Q, K, NEG), {"negatives_layout": "kn"}, "negatives_layout is 'kn'"),
    ((Q, K), {"negatives_layout": "dk"}, "no negatives to lay out"),
    ((Q, K, NEG), {"extra_negatives": EXTRA[:, 0]}, "extra_negatives are .6, 16.: .N, M, D."),
    ((Q, K, NEG), {"extra_negatives": EXTRA[:3]}, "query has 6 rows"),
    ((Q, K, NEG), {"extra_negatives": EXTRA, "extra_scale": math.inf}, "extra_scale is inf"),
    ((Q, K, NEG), {"extra_scale": 2.0}, "no extra_negatives for it to scale"),
    ((Q, K, NEG.to("meta")), {}, "on meta: both need the same feature dimension and device"),
    ((Q.long(), K, NEG), {}, "query has dtype torch.int64"),
    ((Q, K, NEG), {"temperature": 0.0}, "temperature is 0.0: a finite number above 0"),
    ((Q, K, NEG), {"temperature": math.nan}, "temperature is nan"),
    ((Q, K, NEG), {"temperature": torch.ones(1)}, "0-d floating-point tensor"),
    ((Q, K, NEG), {"reduction": "average"}, "reduction is 'average'"),
    ((Q, K, NEG), {"precision": "fp8"}, "precision is 'fp8'"),
    (
        (Q.half(), K.half(), NEG.half()),
        {"precision": "tf32"},
        "inputs are torch.float16: it says how float32 is multiplied",
    ),
    (
        (Q, K, NEG),
        {"precision": "tf32", "backend": "torch"},
        'precision is "tf32", which the torch backend',
    ),
    ((Q.double(), K.double(), NEG.double()), {"backend": "triton"}, "only the torch backend takes"),
    ((Q, K, NEG), {"backend": "cuda"}, "backend is 'cuda'"),
    ((Q, K, NEG), {"backend": None}, "backend is None"),
    ((Q, K, NEG), {"exclude_diagonal": "no"}, "exclude_diagonal is 'no': True or False"),
    ((Q, K, NEG), {"normalised": None}, "normalised is None: True or False"),
    ((Q.to_sparse(), K, NEG), {}, "query has layout torch.sparse_coo"),
    (
        (Q.new_ones(2, 1100), Q.new_ones(2, 1100), Q.new_ones(3, 1100)),
        {"backend": "triton"},
        "feature dimension is 1100",
    ),
]


@pytest.mark.parametrize(
    ("args", "options", "message"), MISTAKES, ids=[message for _, _, message in MISTAKES]
)
def test_a_callers_mistake_is_named(args, options, message):
    with pytest.raises(ValueError, match=message):
        info_nce(*args, **options)


def test_an_option_that_there_is_not_is_named():
    with pytest.raises(TypeError, match=r"info_nce\(\) got an unexpected .* argument 'mask'"):
        info_nce(Q, K, NEG, mask=None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"soft_labels": torch.full((len(Q), len(NEG)), -0.1)}, "soft_labels hold -0.1"),
        ({"soft_labels": torch.full((len(Q), len(NEG)), 0.9)}, "a row whose sum is"),
        ({"soft_labels": torch.full((len(Q), len(NEG)), float("nan"))}, "soft_labels hold nan"),
        ({"row_weights": torch.full((len(Q),), -1.0)}, "row_weights hold -1 to -1"),
        ({"row_weights": torch.full((len(Q),), float("inf"))}, "row_weights hold inf"),
    ],
)
def test_targets_that_are_no_shares_are_refused_where_values_are_looked_at(
    monkeypatch, options, said
):
    options = {name: value.to(Q.device) for name, value in options.items()}
    info_nce(Q, K, NEG, **options)
    monkeypatch.setenv("FASTNEG_DEBUG", "1")
    with pytest.raises(ValueError, match=said):
        info_nce(Q, K, NEG, **options)
    info_nce(Q, K, NEG, soft_labels=Q.new_zeros(len(Q), len(NEG)), row_weights=Q.new_ones(len(Q)))
