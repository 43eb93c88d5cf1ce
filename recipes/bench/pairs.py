"""fastneg bench pairs: SigLIP's and CLIP's losses against other implementations.

Each contender takes (first, second, scale, bias) and returns the mean loss, differentiable by all
of them; CLIP's has no bias.
Legend: N pairs, D feature dimension.
"""

from __future__ import annotations

import importlib.util
import statistics

import torch
from torch.nn.functional import cross_entropy, logsigmoid

from fastneg.losses import clip_loss, info_nce, siglip_loss
from fastneg.recipes.bench.loss_options import parse_pairs
from fastneg.recipes.bench.measuring import (
    bench_device,
    dtype_name,
    figures_of,
    flops_per_ms,
    in_cuda_graphs,
    peak_mib_on_gpu,
    take_turns,
    unit_rows,
    why_broken,
)

SHAPES = {
    "cpu": ((512, 512), (2048, 512)),
    "cuda": ((1024, 512), (4096, 512), (16384, 512), (4096, 128), (65536, 768)),
}
SCALE, BIAS = 10.0, -10.0
IN_A_GRAPH = 4
"""Calls that a CUDA graph of the benchmark replays."""
PRODUCTS = {("siglip", False): 2, ("siglip", True): 6, ("clip", False): 2, ("clip", True): 8}
"""{(loss, with its gradients): floating-point operations over N²D}"""
GRAPHED = 16384
"""Pairs up to which a graph is made: beyond, launches cost nothing beside the work, and a graph
would hold the matrices of several calls."""


def bench_pairs(pairs=None, rounds=None):
    """Yield a row per loss, shape, contender and pass; gradients go to both sides, the scale and
    the bias.

    share_of_floor compares with the time of the pass's matrix products alone, made once each (see
    PRODUCTS), at the rate that one large product reaches in this run. peak_mib, on CUDA, is what
    the call needs beyond its inputs. On CUDA a pass is measured a second time, replayed from a CUDA
    graph: without the host's time to launch.

    Args:
        pairs: ((N, D), …), or as text "4096x512,…"; None: those of the device.
        rounds: how often each is timed; None: 5 on a CPU, 30 on a GPU.
    """
    device = bench_device()
    pairs = parse_pairs(pairs) if isinstance(pairs, str) else pairs
    rounds = rounds or (5 if device == "cpu" else 30)
    for count, dim in pairs or SHAPES[device]:
        rate = flops_per_ms(device)
        for loss in CONTENDERS:
            functions, skipped = contenders(loss, device)
            for with_grad in (False, True):
                row = {"bench": "pairs", "loss": loss, "device": device, "N": count, "D": dim}
                row |= {"dtype": dtype_name(device)}
                row |= {"pass": "forward_backward" if with_grad else "forward"}
                floor = PRODUCTS[loss, with_grad] * count**2 * dim / rate
                yield from _rows(functions, skipped, row, with_grad, rounds, floor)


def _rows(functions, skipped, row, with_grad, rounds, floor):
    device, broken = row["device"], {}
    runners, memory = {}, {}
    for name, function in functions.items():
        try:
            runner = _runner(function, device, row["N"], row["D"], with_grad)
            runner()
            memory[name] = peak_mib_on_gpu(runner) if device == "cuda" else None
        except Exception as error:  # whatever a library of others raises
            broken[name] = why_broken(error)
        else:
            runners[name] = runner
    for graphed in (False, True) if device == "cuda" and row["N"] <= GRAPHED else (False,):
        calls = IN_A_GRAPH if graphed else 1
        ready, refused = in_cuda_graphs(runners, calls) if graphed else (runners, skipped)
        times = take_turns(ready, rounds, device)
        times = {name: [each / calls for each in found] for name, found in times.items()}
        base = statistics.median(times["eager"]) if "eager" in times else None
        common = {**row, "cuda_graph": graphed}
        for name in ready:
            figures = figures_of(times[name])
            faster = None if base is None else base / figures["ms_median"]
            yield {
                **common,
                "contender": name,
                **figures,
                "peak_mib": memory[name],
                "share_of_floor": floor / figures["ms_median"],
                "times_faster_than_eager": faster,
            }
        for name, reason in refused.items():
            yield {**common, "contender": name, "skipped": reason}
    for name, reason in broken.items():
        yield {**row, "contender": name, "failed": reason}


def _runner(function, device, count, dim, with_grad):
    """A function that runs one pass of a contender."""
    first, second, _ = unit_rows(device, count, 1, dim)
    scale, bias = (torch.tensor(value, device=device) for value in (SCALE, BIAS))
    if not with_grad:
        return lambda: function(first, second, scale, bias)
    leaves = [tensor.requires_grad_() for tensor in (first, second, scale, bias)]
    return lambda: torch.autograd.grad(function(*leaves), leaves, allow_unused=True)


def siglip_fastneg(first, second, scale, bias):
    """Ours: logits, loss and weights of a tile at once, then both gradients."""
    return siglip_loss(first, second, scale=scale, bias=bias)


def siglip_eager(first, second, scale, bias):
    """As big_vision and open_clip write it: one matrix of all logits."""
    logits = _logits(first, second, scale) + bias
    signs = 2 * torch.eye(len(logits), dtype=logits.dtype, device=logits.device) - 1
    return -logsigmoid(signs * logits).sum() / len(logits)


def siglip_kernel(first, second, scale, bias):
    """The package of that name, by the road that it chooses itself."""
    from siglip_kernel import fused_siglip_loss

    return fused_siglip_loss(first, second, scale.log(), bias)


def clip_fastneg(first, second, scale, bias):
    """Ours: both directions in one sweep."""
    return clip_loss(first, second, temperature=scale.reciprocal())


def clip_fastneg_two_calls(first, second, scale, bias):
    """Ours with a call of `info_nce` for each direction: twice the products."""
    options = {"temperature": scale.reciprocal(), "exclude_diagonal": True}
    return (
        info_nce(first, second, second, **options) + info_nce(second, first, first, **options)
    ) / 2


def clip_eager(first, second, scale, bias):
    """As CLIP and open_clip write it: one matrix of all logits, cross entropy of it and of its
    transpose."""
    logits = _logits(first, second, scale)
    classes = torch.arange(len(logits), device=logits.device)
    return (cross_entropy(logits, classes) + cross_entropy(logits.t(), classes)) / 2


def clip_inf_cl(first, second, scale, bias):
    """inf-cl's loss, a call for each direction, in float32 as it asks for."""
    from inf_cl import cal_flash_loss

    first, second = first.float(), second.float()
    rows, columns = (
        cal_flash_loss(*pair, scale=scale) for pair in ((first, second), (second, first))
    )
    return (rows.mean() + columns.mean()) / 2


def _logits(first, second, scale):
    return scale * (first @ second.t())


CONTENDERS = {
    "siglip": {"fastneg": siglip_fastneg, "eager": siglip_eager, "siglip_kernel": siglip_kernel},
    "clip": {
        "fastneg": clip_fastneg,
        "fastneg_two_calls": clip_fastneg_two_calls,
        "eager": clip_eager,
        "inf_cl": clip_inf_cl,
    },
}
"""{loss: {name: function}}"""
PEERS = ("siglip_kernel", "inf_cl")
"""Modules of others, whose kernels need a GPU."""


def contenders(loss, device):
    """({name: function}, {name: why it does not run here})."""
    functions, skipped = dict(CONTENDERS[loss]), {}
    if device == "cpu":  # where it is not measured, the compiler is not imported either
        skipped["torch_compile"] = "measured on CUDA only: on a CPU it needs a C++ compiler"
    else:
        functions["torch_compile"] = torch.compile(functions["eager"], dynamic=False)
    for name in PEERS:
        if name not in functions:
            continue
        if importlib.util.find_spec(name) is None:
            skipped[name] = "not installed: pip install 'fastneg[bench]'"
        elif device == "cpu":
            skipped[name] = "needs a CUDA device"
    return {name: function for name, function in functions.items() if name not in skipped}, skipped
