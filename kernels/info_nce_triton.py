"""InfoNCE on the GPU: one sweep over the shared negatives, split over programs and merged in a
fixed order.

Here are the launches; the kernels are in info_nce_triton_kernels.py, their tile sizes in
info_nce_tiles.py.
"""

from typing import NamedTuple

import torch
import triton

from .backend import interpreting
from .info_nce_tiles import HALF_TILES, LARGEST_DIM, OPERANDS, tiles_for
from .info_nce_triton_kernels import merge_kernel, negatives_grad_kernel, sweep_kernel
from .launch import Recorder
from .launch import launch as launch_now
from .registry import Budget, Shipped

# Read when @triton.jit decorates, so it must be read once, here, and nowhere else.
INTERPRETED = interpreting()

# Streaming multiprocessors to fill: of the interpreter (enough to exercise the merge), and of the
# H200 that launches are recorded for.
PROCESSORS = {"cpu": 4, "meta": 132}


class Parts(NamedTuple):
    """What the sweep leaves for the merge: S parts of each row, see `sweep_kernel`."""

    tops: torch.Tensor
    totals: torch.Tensor
    ranks: torch.Tensor
    """(S, N) each."""
    means: torch.Tensor
    """(S, N, D); (S, 0, D) without a gradient."""
    positive_dots: torch.Tensor
    """(N,)."""


def forward(
    query, positive, negatives, extra, temperature, extra_scale, exclude_diagonal, operand,
    with_grad, launch=launch_now,
):  # fmt: skip
    """The outputs of `fastneg::info_nce` in two launches; arguments as in info_nce_torch.forward,
    `operand` by name."""
    count = len(negatives)
    common = {**_common(query.shape[1], temperature, operand), "WITH_GRAD": with_grad}
    own = 0 if extra is None else extra.shape[1]
    parts = _sweep(
        query, positive, negatives, temperature, exclude_diagonal, operand, common, launch
    )
    extra = query[:, None] if extra is None else extra  # never read where M = 0
    worst_rank = count - int(exclude_diagonal) + own
    sizes = own, float(extra_scale), worst_rank
    return _merge(query, positive, extra, temperature, parts, sizes, common, launch)


def _sweep(query, positive, negatives, temperature, exclude_diagonal, operand, common, launch):
    (rows, dim), count = query.shape, len(negatives)
    tiles = tiles_for(rows, common["DIM_PAD"], operand, query, negatives)
    row_blocks, key_tiles = triton.cdiv(rows, tiles.rows), triton.cdiv(count, tiles.keys)
    # As many programs as there are processors, if the rows alone do not fill them.
    tiles_per_split = max(1, triton.cdiv(key_tiles, max(1, _processors(query) // row_blocks)))
    splits = max(1, triton.cdiv(key_tiles, tiles_per_split))
    empty = lambda *shape, dtype=torch.float32: torch.empty(shape, dtype=dtype, device=query.device)
    parts = Parts(
        empty(splits, rows),
        empty(splits, rows),
        empty(splits, rows, dtype=torch.int64),
        empty(splits, rows if common["WITH_GRAD"] else 0, dim),
        empty(rows),
    )
    launch(
        sweep_kernel,
        (row_blocks, splits),
        (
            *(query, positive, negatives, temperature, *parts, rows, count, tiles_per_split),
            *(*query.stride(), *positive.stride(), *negatives.stride()),
        ),
        {
            **common,
            "BLOCK_N": tiles.rows,
            "BLOCK_K": tiles.keys,
            "WHOLE_TILES": count % tiles.keys == 0,
            "EXCLUDE_DIAGONAL": exclude_diagonal,
            **_product(operand),
        },
        num_warps=tiles.warps,
        num_stages=tiles.stages,
    )
    return parts


def _merge(query, positive, extra, temperature, parts, sizes, common, launch):
    """sizes: (M, extra_scale, the rank of a row whose loss is NaN)."""
    (rows, dim), splits, own = query.shape, len(parts.tops), sizes[0]
    empty = lambda *shape, dtype=torch.float32: torch.empty(shape, dtype=dtype, device=query.device)
    loss, lse, positive_logit = empty(rows), empty(rows), empty(rows)
    rank = empty(rows, dtype=torch.int64)
    top, total, extra_weights = empty(rows), empty(rows), empty(rows, own)
    dq = empty(rows if common["WITH_GRAD"] else 0, dim)
    splits_pad, own_pad = (triton.next_power_of_2(max(1, number)) for number in (splits, own))
    launch(
        merge_kernel,
        (rows,),
        (
            *(query, positive, extra, temperature, *parts),
            *(loss, lse, positive_logit, rank, top, total, extra_weights, dq),
            *(rows, splits, *sizes),
            *(*query.stride(), *positive.stride(), *extra.stride()),
        ),
        {
            **common,
            "SPLITS_PAD": splits_pad,
            # Blocks of vectors that stay in registers.
            "BLOCK_S": max(1, min(splits_pad, 4096 // common["DIM_PAD"])),
            "BLOCK_M": max(1, min(own_pad, 8192 // common["DIM_PAD"])),
        },
        num_warps=4,
    )
    return loss, lse, rank, positive_logit, top, total, extra_weights, dq


def negatives_grad(
    query, negatives, top, weight, temperature, exclude_diagonal, operand, launch=launch_now
):
    """The output of `fastneg::info_nce_negatives_grad`; arguments as in
    info_nce_torch.negatives_grad, `operand` by name.

    `top` is the one that `forward` of this module gave: in base 2.
    """
    (rows, dim), count = query.shape, negatives.shape[0]
    grad = torch.empty(negatives.shape, dtype=negatives.dtype, device=negatives.device)
    if count == 0:
        return grad
    common = _common(dim, temperature, operand)
    tiles = tiles_for(count, common["DIM_PAD"], operand, query, negatives)
    # Weights of any magnitude (a gradient scaler's) become at most 1 in the half-precision product,
    # and return in float32 after it.
    unit = weight.abs().amax()
    scaled = weight / unit.clamp_min(torch.finfo(weight.dtype).tiny)
    launch(
        negatives_grad_kernel,
        (triton.cdiv(count, tiles.rows),),
        (
            *(query, negatives, top, scaled, unit, temperature, grad, rows, count),
            *(*query.stride(), *negatives.stride(), *grad.stride()),
        ),
        {
            **common,
            "BLOCK_K": tiles.rows,
            "BLOCK_N": tiles.keys,
            "EXCLUDE_DIAGONAL": exclude_diagonal,
            **_product(operand),
        },
        num_warps=tiles.warps,
        num_stages=tiles.stages,
    )
    return grad


def _product(operand):
    return {"PRECISION": "tf32" if operand == "tf32" else "ieee", "UPCAST": INTERPRETED}


def _common(dim, temperature, operand):
    if dim > LARGEST_DIM:
        raise ValueError(
            f"the feature dimension is {dim}: the Triton kernels take up to {LARGEST_DIM}; pass "
            'backend="torch".'
        )
    return {
        "DIM": dim,
        "DIM_PAD": max(32, triton.next_power_of_2(dim)),
        "OPERAND": OPERANDS[operand],
        "TENSOR_TEMPERATURE": isinstance(temperature, torch.Tensor),
    }


def _processors(tensor):
    if tensor.device.type in PROCESSORS:
        return PROCESSORS[tensor.device.type]
    return torch.cuda.get_device_properties(tensor.device).multi_processor_count


# --- what ships -----------------------------------------------------------------------------------


def shipped():
    """Every tile size that is chosen for some input, and the variants of the kernels at D 128."""
    for operand in ("bfloat16", "tf32", "float32"):
        for dim in HALF_TILES:
            few, many = (tiles_for(rows, dim, operand) for rows in (1, 4096))
            for rows, tiles in [(4096, many)] + ([(few.rows, few)] if few != many else []):
                name = (
                    f"{operand} D={dim} {tiles.rows}x{tiles.keys} warps={tiles.warps} "
                    f"stages={tiles.stages}"
                )
                yield from _launches(name, operand, rows, 65536, dim)
    for name, count, dim in (
        ("ragged", 65000, 128),
        ("in-batch", None, 128),
        ("forward", 65536, 128),
        ("unaligned", 65000, 125),
        ("unaligned", 65000, 1023),
    ):
        config, with_grad = f"bfloat16 D={dim} {name}", name != "forward"
        yield from _launches(config, "bfloat16", 4096, count, dim, with_grad=with_grad)
    yield from _launches("float16 D=128", "float16", 4096, 65536, 128)
    for dim in (128, 256, 512, 1024):
        yield from _launches(f"bfloat16 D={dim} dk", "bfloat16", 4096, 65536, dim, layout="dk")
    yield from _launches("bfloat16 D=128 M=64", "bfloat16", 4096, 65536, 128, own=64)
    yield from _launches("bfloat16 D=128 tensor T", "bfloat16", 4096, 65536, 128, learned=True)
    yield from _launches("bfloat16 D=1 one of each", "bfloat16", 1, 1, 1, learned=True)


def _launches(config, operand, rows, count, dim, with_grad=True, layout="kd", own=1, learned=False):
    """count: K, None for in-batch negatives; own: M; learned: the temperature is a tensor."""
    dtype = getattr(torch, operand.replace("tf32", "float32"))
    empty = lambda *shape, dtype=dtype: torch.empty(shape, dtype=dtype, device="meta")
    query, extra, alone = empty(rows, dim), empty(rows, own, dim), count is None
    if alone:
        keys = query
    else:
        keys = empty(count, dim) if layout == "kd" else empty(dim, count).t()
    recorder = Recorder()
    temperature = torch.empty((), device="meta") if learned else 0.2
    settings = temperature, 2.0, alone, operand, with_grad  # extra_scale, …
    forward(query, query, keys, extra, *settings, launch=recorder)
    if with_grad:
        row, some = empty(rows, dtype=torch.float32), keys[:rows]
        negatives_grad(query, some, row, row, temperature, alone, operand, launch=recorder)
    for launch in recorder.launches:
        products = launch[0] is not merge_kernel and config.startswith("bfloat16 D=128 ")
        yield Shipped(config, launch, Budget(wgmma=products))
