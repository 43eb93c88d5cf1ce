"""What a call asks for: unit rows without a running maximum, a loss without ranks
(fastneg.kernels.info_nce_sweep_kernel and its twin in torch)."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from fastneg.kernels import info_nce_sweep_kernel
from fastneg.kernels.info_nce import info_nce
from fastneg.kernels.info_nce_call import LARGEST_BOUND, LeftOut, Wanted, bounded
from fastneg.kernels.info_nce_triton import HALF_BOUND
from fastneg.kernels.launch import Recorder
from helpers.info_nce_definition import BACKENDS, DEVICE, HALVES, compare, definition, draw

SHAPES = [  # N, K (None: in-batch), D, M
    (33, 300, 48, 3),
    (70, 129, 128, 0),
    (5, 1, 16, 2),
    (40, None, 40, 2),
    (64, 1024, 64, 1),
]


def at_a_float_temperature(tensors, temperature, backend, tolerance, dtype=torch.float32):
    """As `compare`, for unit rows: a temperature in a tensor would let the maximum run."""
    leaves = [None if t is None else t.clone().requires_grad_() for t in tensors]
    exact = [None if t is None else t.double().requires_grad_() for t in tensors]
    extra = {} if tensors[3] is None else {"extra_scale": 2.0}
    options = {"temperature": temperature, "backend": backend, "normalised": True, **extra}
    out = info_nce(*leaves[:3], extra_negatives=leaves[3], return_stats=True, **options)
    out.loss.backward()
    rows, logits = definition(*exact, temperature, 2.0)
    rows.mean().backward()
    assert (out.loss.double() - rows.mean()).abs() <= tolerance * rows.mean()
    if dtype == torch.float32:
        assert torch.equal(out.rank, (logits[:, 1:] > logits[:, :1]).sum(1))
        assert (out.lse.double() - logits.logsumexp(1)).abs().max() <= 1e-5 + 1e-6 / temperature
    for ours, truth in zip(leaves, exact, strict=True):
        if ours is not None:
            error = (truth.grad - ours.grad.double()).norm()
            # a difference of keys of size 1 / T, known to its rounding
            floor = 4 * torch.finfo(dtype).eps / temperature
            assert error <= tolerance * truth.grad.norm() + floor


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("temperature", [0.025, 0.2, 1.0])
@pytest.mark.parametrize(("rows", "count", "dim", "private"), SHAPES)
def test_unit_rows(backend, temperature, rows, count, dim, private):
    known = torch.finfo(torch.float32).eps / temperature
    at_a_float_temperature(
        draw(rows, count, dim, private), temperature, backend, tolerance=5e-6 + 2 * known
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("temperature", [0.12, 0.2])
def test_unit_rows_in_half_precision(backend, dtype, temperature):
    """The interpreter truncates where a GPU rounds, each gradient is rounded in the end."""
    for tensors in (draw(33, 300, 48, 3, dtype), draw(70, 129, 128, 0, dtype)):
        at_a_float_temperature(
            tensors, temperature, backend, tolerance=3 * torch.finfo(dtype).eps, dtype=dtype
        )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, *HALVES])
def test_the_least_weights_are_still_numbers(backend, dtype):
    """All negatives are opposite to the query: each weight is the least that there is."""
    temperature = 0.117 if dtype == torch.float16 else 0.0228
    query = draw(6, 1, 32, dtype=dtype)[0]
    near = normalize(query[:1].double() + 0.02 * draw(40, 1, 32)[0].double(), dim=1)
    tensors = query[:1], -query[:1], -near.to(dtype), None
    eps = torch.finfo(dtype).eps
    known = torch.finfo(torch.float32).eps / temperature
    at_a_float_temperature(tensors, temperature, backend, 3 * eps + 4 * known, dtype)


@pytest.mark.parametrize("backend", BACKENDS)
def test_extra_negatives_far_below_the_bound(backend):
    """No shared negative: the extra ones alone make the sum, at -2 / T."""
    query, _, none, _ = draw(6, 0, 32)
    tensors = query, -1.9 * query, none, -query[:, None]
    at_a_float_temperature(tensors, 0.025, backend, tolerance=5e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("temperature", [1e-3, 0.01])
def test_a_temperature_beyond_the_bound_lets_the_maximum_run(backend, temperature):
    known = torch.finfo(torch.float32).eps / temperature
    at_a_float_temperature(draw(33, 300, 48, 3), temperature, backend, tolerance=5e-6 + 4 * known)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_learned_temperature(backend):
    compare(draw(33, 300, 48, 3), 0.1, backend, tolerance=5e-6, extra_scale=2.0, normalised=True)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_nan_stays_one(backend):
    query, positive, negatives, _ = draw(6, 40, 16)
    query[2, 3] = float("nan")
    options = {"reduction": "none", "return_stats": True, "normalised": True, "backend": backend}
    out = info_nce(query, positive, negatives, temperature=0.2, **options)
    assert out.loss.isnan().tolist() == [False, False, True, False, False, False]
    assert out.rank[2] == 40


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("normalised", [False, True])
def test_without_ranks_the_loss_is_the_same(backend, normalised):
    query, positive, negatives, extras = draw(33, 129, 24, 2)
    options = {"temperature": 0.2, "normalised": normalised, "backend": backend}
    call = lambda stats: info_nce(
        query, positive, negatives, extra_negatives=extras, return_stats=stats, **options
    )
    assert torch.equal(call(False), call(True).loss)


def test_longer_rows_are_refused_when_debugging(monkeypatch):
    query, positive, negatives, _ = draw(6, 40, 16)
    call = lambda q, n: info_nce(q, positive, n, temperature=0.2, normalised=True)
    call(query * 1.5, negatives)
    monkeypatch.setenv("FASTNEG_DEBUG", "1")
    call(query, negatives)
    call(query.bfloat16(), negatives.bfloat16())
    with pytest.raises(ValueError, match="a row of query has length"):
        call(query * 1.5, negatives)
    negatives[7] = float("nan")
    with pytest.raises(ValueError, match="a row of negatives has length nan"):
        call(query, negatives)


def test_the_bound():
    """Weights at the bound and opposite to it are numbers of the dtype."""
    room = info_nce_sweep_kernel.HEADROOM.value
    for dtype, largest in ((torch.bfloat16, LARGEST_BOUND), (torch.float16, HALF_BOUND)):
        spread = 2 * largest / math.log(2)
        assert 2.0 ** (room + 0.02 * spread) < torch.finfo(dtype).max
        least = torch.finfo(dtype).smallest_normal * (2**-13 if dtype == torch.float16 else 1)
        assert 2.0 ** (room - 1.01 * spread) > least * 2**10 or dtype == torch.bfloat16
        assert 2.0 ** (room - 1.01 * spread) > least
    assert bounded(1 / LARGEST_BOUND) and not bounded(0.99 / LARGEST_BOUND)
    assert not bounded(torch.tensor(1.0))


def launched(wanted, count=65536, operand="bfloat16", **left_out):
    """(grid, constants, options) of the sweep of 4,096 queries on an H200."""
    from fastneg.kernels import info_nce_triton

    query, keys = (
        torch.empty(rows, 128, dtype=getattr(torch, operand), device="meta")
        for rows in (4096, count)
    )
    recorder, grids = Recorder(), []

    def launch(kernel, grid, *args, **options):
        grids.append(grid)
        recorder(kernel, grid, *args, **options)

    hidden = LeftOut(**left_out)
    info_nce_triton.forward(
        query, query, keys, None, 0.2, 1.0, hidden, operand, wanted, launch=launch
    )
    return grids[0], *recorder.launches[0][2:]


def test_two_programs_share_a_multiprocessor_where_registers_allow():
    lean = Wanted(normalised=True)
    grid, constants, options = launched(lean)
    assert set(constants) <= set(info_nce_sweep_kernel.sweep_kernel.arg_names)
    assert options["maxnreg"] == 128 and constants["FIXED"] and constants["WITH_RANK"]
    assert 132 < grid[0] * grid[1] <= 264
    for wanted, operand, hidden in (
        (Wanted(), "bfloat16", {}),
        (lean, "bfloat16", {"count": 65000}),
        (lean, "float32", {}),
        (lean, "bfloat16", {"diagonal": True, "count": 4096}),
    ):
        grid, _, options = launched(wanted, operand=operand, **hidden)
        assert "maxnreg" not in options and grid[0] * grid[1] <= 132
    assert "maxnreg" in launched(Wanted(rank=False))[2]
    assert not launched(Wanted(rank=False))[1]["WITH_RANK"]


@pytest.mark.gpu
@pytest.mark.parametrize("stats", [False, True])
@pytest.mark.parametrize("normalised", [False, True])
def test_every_variant_on_the_gpu(stats, normalised):
    tensors = draw(512, 65536, 128, 1, torch.bfloat16)
    query = tensors[0].clone().requires_grad_()
    out = info_nce(
        query, *tensors[1:3],
        temperature=0.2, extra_negatives=tensors[3], normalised=normalised, return_stats=stats,
    )  # fmt: skip
    (out.loss if stats else out).backward()
    exact = [tensor.double() for tensor in tensors]
    exact[0].requires_grad_()
    rows, logits = definition(*exact, 0.2, 1.0)
    rows.mean().backward()
    assert abs((out.loss if stats else out).item() - rows.mean().item()) < 1e-3
    assert (query.grad.double() - exact[0].grad).norm() < 1e-2 * exact[0].grad.norm()
    if stats:
        rank = (logits[:, 1:] > logits[:, :1]).sum(1)
        assert (out.rank.to(DEVICE) - rank).abs().max() <= 2
