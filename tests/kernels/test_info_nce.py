"""InfoNCE against its plain definition in float64: both backends, forward and every gradient
(fastneg.kernels.info_nce_operator), on ragged sizes and extreme values."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from fastneg.kernels.info_nce import info_nce
from helpers.info_nce_definition import (
    BACKENDS,
    DEVICE,
    HALVES,
    compare,
    definition,
    draw,
    loss_and_grads,
)

SHAPES = [  # N, K (None: in-batch), D, M, temperature
    (33, 300, 48, 3, 0.2),
    (70, 129, 128, 0, 0.07),
    (5, 1, 16, 2, 0.1),
    (1, 257, 20, 64, 0.5),
    (40, None, 40, 2, 0.1),
    (64, 1024, 64, 1, 0.01),
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("rows", "count", "dim", "private", "temperature"), SHAPES)
def test_float32_loss_and_every_gradient(backend, rows, count, dim, private, temperature):
    options = {"extra_scale": 2.0} if private else {}
    compare(draw(rows, count, dim, private), temperature, backend, tolerance=5e-6, **options)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(("rows", "count", "dim", "private", "temperature"), SHAPES)
def test_half_precision_is_no_worse_than_eager(
    backend, dtype, rows, count, dim, private, temperature
):
    options = {"extra_scale": 2.0} if private else {}
    # Softmax weights are rounded to the dtype for the second product, and the interpreter truncates
    # where a GPU rounds.
    compare(
        draw(rows, count, dim, private, dtype),
        temperature,
        backend,
        tolerance=2 * torch.finfo(dtype).eps,
        **options,
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dim", [512, 700])
def test_wide_features(backend, dim):
    compare(draw(17, 50, dim, 1), 0.1, backend, tolerance=5e-6, extra_scale=2.0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("rows", "count"), [(9, 9), (9, 40), (9, 4), (70, 90)])
def test_negatives_that_begin_with_the_queries_leave_themselves_out(backend, rows, count):
    query, positive, negatives, extras = draw(rows, count, 20, 2)
    leaves = [tensor.clone().requires_grad_() for tensor in (query, positive, negatives, extras)]
    truth_leaves = [
        tensor.double().requires_grad_() for tensor in (query, positive, negatives, extras)
    ]
    _, logits = definition(*truth_leaves, 0.1, 2.0)
    own = torch.zeros_like(logits, dtype=torch.bool)
    own[:, 1 : 1 + count].fill_diagonal_(True)
    logits = logits.masked_fill(own, -math.inf)
    loss = cross_entropy(logits, torch.zeros(rows, dtype=torch.long, device=DEVICE))
    loss.backward()
    options = {
        "temperature": 0.1,
        "extra_scale": 2.0,
        "exclude_diagonal": True,
        "backend": backend,
        "return_stats": True,
    }
    out = info_nce(*leaves[:3], extra_negatives=leaves[3], **options)
    out.loss.backward()
    torch.testing.assert_close(out.loss.double(), loss, rtol=1e-5, atol=1e-6)
    assert torch.equal(out.rank, (logits[:, 1:] > logits[:, :1]).sum(1))
    for ours, truth in zip(leaves, truth_leaves, strict=True):
        torch.testing.assert_close(ours.grad.double(), truth.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
class TestExtremes:
    def test_huge_logits(self, backend):
        # A float32 logit near 1e4 is itself known to 1e-3 only, and so is its exponential.
        query, positive, negatives, _ = draw(16, 90, 32)
        compare((query * 100, positive, negatives, None), 0.01, backend, tolerance=1e-3)

    def test_a_tiny_loss_keeps_its_gradient(self, backend):
        """The positive is far ahead: p - 1 would round to 0 in float32, the factored form keeps all
        digits."""
        query = draw(8, 1, 16)[0]
        tensors, heat = (
            (query, query.clone(), -query[:1].clone(), None),
            torch.tensor(0.02, device=DEVICE),
        )
        exact = lambda q, k, n, e, t: torch.log1p(
            torch.exp((q @ n.t()).squeeze(1) / t - (q * k).sum(1) / t).double()
        ).mean()
        truth = loss_and_grads(
            exact,
            [None if tensor is None else tensor.double() for tensor in tensors],
            heat.double(),
        )
        mine = loss_and_grads(
            lambda q, k, n, e, t: info_nce(q, k, n, temperature=t, backend=backend), tensors, heat
        )
        assert 0 < truth[0] < 1e-7
        for wanted, got in zip(truth, mine, strict=True):
            assert (wanted - got.double()).norm() <= 1e-4 * wanted.norm()

    def test_identical_rows(self, backend):
        row = draw(1, 1, 32)[0]
        out = info_nce(
            row.expand(8, -1),
            row.expand(8, -1),
            row.expand(100, -1),
            return_stats=True,
            backend=backend,
        )
        assert out.loss.item() == pytest.approx(math.log(101), rel=1e-6)

    def test_a_positive_that_is_also_a_negative(self, backend):
        """Its logit is counted twice; it is no better than itself, but for the last digit of two
        ways to sum the same product."""
        query, positive, negatives, _ = draw(9, 40, 32)
        negatives[7] = positive[2]
        compare((query, positive, negatives, None), 0.05, backend, tolerance=5e-6)
        ahead = info_nce(
            positive,
            positive,
            torch.cat([positive, -positive]),
            return_stats=True,
            reduction="none",
            backend=backend,
        )
        assert (ahead.rank <= 1).all() and (ahead.loss > math.log(2) - 1e-5).all()

    def test_one_of_everything(self, backend):
        compare(draw(1, 1, 16, 1), 0.3, backend, tolerance=5e-6, extra_scale=2.0)

    def test_many_private_negatives_of_many_rows(self, backend):
        compare(draw(12, 33, 24, 64), 0.2, backend, tolerance=5e-6, extra_scale=0.5)

    def test_no_negatives_at_all(self, backend):
        query, positive, negatives, _ = draw(6, 0, 16)
        query.requires_grad_()
        loss = info_nce(query, positive, negatives, backend=backend)
        loss.backward()
        assert loss.item() == 0 and not query.grad.any()
        with pytest.raises(ValueError, match="query has one row, so there are no other rows"):
            # a mistake, where (0, D) is a choice
            info_nce(query[:1], positive[:1], backend=backend)
        extra = -positive[:1, None]
        alone = [
            info_nce(query[:1], positive[:1], *shared, extra_negatives=extra, backend=backend)
            for shared in ((), (negatives,))
        ]
        assert alone[0].item() == alone[1].item() > 0

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_a_query_that_is_not_finite(self, backend, value):
        query, positive, negatives, extras = draw(6, 40, 16, 2)
        query[2, 3] = value
        positive[:, 3], negatives[:, 3] = positive[:, 3].abs(), negatives[:, 3].abs()
        out = info_nce(
            query,
            positive,
            negatives,
            extra_negatives=extras,
            reduction="none",
            return_stats=True,
            backend=backend,
        )
        assert out.loss.isnan().tolist() == [False, False, True, False, False, False]
        assert out.rank[2] == 42 and (out.rank[[0, 1, 3, 4, 5]] < 42).all()

    def test_a_nan_among_the_negatives_spoils_every_row(self, backend):
        query, positive, negatives, _ = draw(6, 40, 16)
        negatives[17, 3] = math.nan
        out = info_nce(
            query, positive, negatives, reduction="none", return_stats=True, backend=backend
        )
        assert out.loss.isnan().all() and (out.rank == 40).all() and out.acc5 == 0

    def test_a_nan_positive_in_the_batch(self, backend):
        query, positive, _, _ = draw(6, None, 16)
        positive[1, 0] = math.nan
        out = info_nce(query, positive, reduction="none", return_stats=True, backend=backend)
        assert out.loss.isnan().all() and (out.rank == 5).all()


def test_the_kernels_repeat_bit_for_bit():
    tensors, heat = draw(33, 700, 48, 3), torch.tensor(0.2, device=DEVICE)
    function = lambda q, k, n, e, t: info_nce(
        q, k, n, temperature=t, extra_negatives=e, backend="triton"
    )
    run = lambda: loss_and_grads(function, tensors, heat)
    assert all(torch.equal(one, two) for one, two in zip(run(), run(), strict=True))


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, *HALVES])
@pytest.mark.parametrize(
    ("rows", "count", "dim", "private"),
    [(512, 65536, 128, 1), (1000, 20_001, 256, 4), (77, 4096, 768, 0), (300, None, 96, 3)],
)
def test_large_on_the_gpu(dtype, rows, count, dim, private):
    compare(
        draw(rows, count, dim, private, dtype),
        0.2,
        "triton",
        tolerance=5e-6 if dtype == torch.float32 else torch.finfo(dtype).eps,
    )


@pytest.mark.gpu
def test_tf32_on_the_gpu():
    tensors = draw(256, 8192, 128, 1)
    exact = definition(*(tensor.double() for tensor in tensors), 0.2, 1.0)[0].mean()
    loss = info_nce(*tensors[:3], temperature=0.2, extra_negatives=tensors[3], precision="tf32")
    assert loss.item() == pytest.approx(exact.item(), rel=1e-4)
