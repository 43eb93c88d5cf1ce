"""InfoNCE at sizes beyond a tile, beyond int32 and beyond the memory of the logits."""

import math

import pytest
import torch
from torch.nn.functional import normalize
from torch.utils._python_dispatch import TorchDispatchMode

import fastneg.kernels.info_nce_torch
from fastneg.kernels.info_nce import info_nce
from fastneg.kernels.launch import Recorder
from helpers.info_nce_definition import (
    BACKENDS,
    DEVICE,
    draw,
    loss_and_grads,
)


@pytest.mark.parametrize("exclude", [False, True])
def test_chunks_join_seamlessly(monkeypatch, exclude):
    """Many small chunks, the last one ragged, give what one chunk gives; float64 shows any seam."""
    query, positive, negatives, extras = (tensor.double() for tensor in draw(50, 1000, 16, 2))
    negatives = None if exclude else negatives
    heat = torch.tensor(0.1, dtype=torch.float64, device=DEVICE)
    function = lambda q, k, n, e, t: info_nce(q, k, n, temperature=t, extra_negatives=e)
    run = lambda: loss_and_grads(function, (query, positive, negatives, extras), heat)
    whole = run()
    monkeypatch.setattr(fastneg.kernels.info_nce_torch, "SMALLEST_CHUNK", 7)
    for name in ("CPU_CHUNK_ELEMENTS", "CUDA_CHUNK_ELEMENTS"):
        monkeypatch.setattr(fastneg.kernels.info_nce_torch, name, 1)
    for one, many in zip(whole, run(), strict=True):
        torch.testing.assert_close(many, one, rtol=1e-12, atol=1e-14)


def test_a_million_negatives():
    """On the torch path against one matrix product in float64."""
    query, positive, negatives, _ = draw(3, 1_048_576, 16)
    out = info_nce(
        query,
        positive,
        negatives,
        temperature=0.2,
        return_stats=True,
        reduction="none",
        backend="torch",
    )
    logits = query.double() @ negatives.double().t() / 0.2
    positive_logit = (query.double() * positive.double()).sum(1) / 0.2
    exact = torch.logaddexp(positive_logit, logits.logsumexp(1))
    torch.testing.assert_close(out.lse.double(), exact, rtol=1e-6, atol=0)
    # logits that differ in the last digit only
    assert ((out.rank - (logits > positive_logit[:, None]).sum(1)).abs() <= 2).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_offsets_beyond_int32(tmp_path, backend):
    """Rows 2^29 elements apart, on a CPU in a sparse file: the eighth begins at 3.8 · 10^9.

    Read and written there.
    """
    size = 8 * 2**29
    if DEVICE == "cuda":
        storage = torch.empty(size, dtype=torch.float16, device=DEVICE)
    else:
        storage = torch.from_file(
            str(tmp_path / "sparse"), shared=True, size=size, dtype=torch.float16
        )
    far = storage.as_strided((8, 16), (2**29, 1))
    query, positive, negatives, _ = draw(5, 8, 16, dtype=torch.float16)
    far.copy_(negatives)
    compared = [
        loss_and_grads(
            lambda q, k, n, e, t: info_nce(q, k, n, temperature=t, backend=backend),
            (query, positive, one, None),
            heat,
        )
        for one in (negatives, far)
        for heat in [torch.tensor(0.1, device=DEVICE)]
    ]
    assert all(torch.equal(one, two) for one, two in zip(*compared, strict=True))


class _Allocated(TorchDispatchMode):
    """Bytes of all tensors that are made while it is on, none of which is freed: an upper bound of
    the peak."""

    bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if function is torch.ops.aten.empty.memory_format:
            self.bytes += result.numel() * result.element_size()
        return result


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize(("rows", "bound_mib"), [(32, 16), (512, 32), (4096, 32), (16384, 64)])
def test_memory_of_the_kernels(rows, bound_mib, normalised):
    """What the launches of an H200 allocate, counted on the meta device: partial sums and results,
    nothing of N × K."""
    from fastneg.kernels import info_nce_triton
    from fastneg.kernels.info_nce_call import LeftOut, Wanted

    query, queue, extras = (
        torch.empty(shape, dtype=torch.bfloat16, device="meta")
        for shape in ((rows, 128), (65536, 128), (rows, 1, 128))
    )
    wanted = Wanted(normalised=normalised)
    with _Allocated() as allocated:
        info_nce_triton.forward(
            query, query, queue, extras, 0.2, 2.0, LeftOut(), "bfloat16", wanted, launch=Recorder()
        )
    assert 0 < allocated.bytes <= bound_mib * 2**20


@pytest.mark.gpu
@pytest.mark.parametrize("layout", ["kd", "dk"])
def test_more_than_two_to_the_31_elements_on_the_gpu(layout):
    """Offsets beyond int32: the last key alone is like the queries, so the loss shows whether it
    was read."""
    count, dim = 17_000_000, 128
    queue = torch.zeros(
        (count, dim) if layout == "kd" else (dim, count), dtype=torch.bfloat16, device=DEVICE
    )
    query = normalize(torch.randn(64, dim, device=DEVICE), dim=1).bfloat16()
    (queue if layout == "kd" else queue.t())[-1] = query[0]
    out = info_nce(
        query,
        -query,
        queue,
        temperature=0.05,
        negatives_layout=layout,
        reduction="none",
        return_stats=True,
    )
    exact = math.log(count - 1 + math.exp(20) + math.exp(-20)) + 20
    assert out.loss[0].item() == pytest.approx(exact, rel=1e-2) and out.rank[0] == count


@pytest.mark.gpu
@pytest.mark.parametrize(("rows", "bound_mib"), [(512, 32), (4096, 32)])
def test_memory_on_the_gpu(rows, bound_mib):
    query, positive, queue, _ = draw(rows, 65536, 128, 0, torch.bfloat16)
    query.requires_grad_()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    info_nce(query, positive, queue, temperature=0.2).backward()
    assert torch.cuda.max_memory_allocated() - before <= bound_mib * 2**20
