"""InfoNCE on the GPU: one sweep over the shared negatives, split over programs and merged in a
fixed order.

Here are the tile sizes and the launches; the kernels are in info_nce_triton_kernels.py.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl

from .backend import interpreting
from .info_nce_triton_kernels import merge_kernel, negatives_grad_kernel, partial_kernel
from .launch import launch as launch_now

# Read when @triton.jit decorates, so it must be read once, here, and nowhere else.
INTERPRETED = interpreting()

# Streaming multiprocessors to fill: of the interpreter (enough to exercise the merge), and of the
# H200 that launches are recorded for.
PROCESSORS = {"cpu": 4, "meta": 132}

OPERANDS = {
    "float32": tl.float32,
    "tf32": tl.float32,
    "bfloat16": tl.bfloat16,
    "float16": tl.float16,
}


class Tiles(NamedTuple):
    """Rows and keys of one tile, warps of a program, stages of its load pipeline."""

    rows: int
    keys: int
    warps: int
    stages: int


# By padded feature dimension: the largest tiles that compile for sm_90 without a spilled register
# in every variant of the kernels, for few rows and for many. tests/kernels/test_launch.py holds
# them to it.
HALF_TILES = {
    32: (Tiles(64, 128, 4, 3), Tiles(128, 128, 8, 3)),
    64: (Tiles(64, 64, 4, 3), Tiles(128, 64, 8, 3)),
    128: (Tiles(64, 64, 4, 3), Tiles(128, 64, 8, 3)),
    256: (Tiles(64, 64, 4, 3), Tiles(128, 64, 8, 3)),
    512: (Tiles(32, 32, 8, 3),) * 2,
    1024: (Tiles(16, 16, 8, 2),) * 2,
}
TF32_TILES = {
    32: (Tiles(64, 64, 8, 2),) * 2,
    64: (Tiles(64, 64, 8, 2),) * 2,
    128: (Tiles(64, 64, 8, 2),) * 2,
    256: (Tiles(32, 32, 8, 2),) * 2,
    512: (Tiles(32, 32, 8, 2),) * 2,
    1024: (Tiles(16, 16, 16, 1),) * 2,
}
SINGLE_TILES = {
    32: (Tiles(64, 64, 8, 2),) * 2,
    64: (Tiles(32, 32, 8, 2),) * 2,
    128: (Tiles(32, 32, 8, 2),) * 2,
    256: (Tiles(32, 32, 8, 2),) * 2,
    512: (Tiles(16, 32, 8, 2),) * 2,
    1024: (Tiles(16, 16, 8, 2),) * 2,
}
LARGEST_DIM = 1024


def tiles_for(rows, dim_padded, operand, *matrices):
    """The tile sizes for a block of `rows` of `matrices` and a feature dimension padded to a power
    of two."""
    # What costs registers takes the tiles of a larger dimension: rows that are not aligned to 16
    # elements are loaded one by one through 64-bit pointers, and float32 rows are rounded on their
    # way to a half-precision product.
    if not all(_aligned(matrix) for matrix in matrices):
        dim_padded *= 4
    if any(
        matrix.element_size() > OPERANDS[operand].primitive_bitwidth // 8 for matrix in matrices
    ):
        dim_padded *= 2
    dim_padded = min(dim_padded, LARGEST_DIM)
    few, many = {"float32": SINGLE_TILES, "tf32": TF32_TILES}.get(operand, HALF_TILES)[dim_padded]
    return few if rows <= few.rows else many


def _aligned(matrix):
    return min(matrix.stride()) == 1 and max(matrix.stride()) % 16 == 0


def forward(
    query,
    positive,
    negatives,
    extras,
    temperature,
    extra_scale,
    exclude_diagonal,
    operand,
    with_grad,
    launch=launch_now,
):
    """The outputs of `fastneg::info_nce` in two launches; arguments as in info_nce_torch.forward,
    `operand` by name."""
    (rows, dim), count = query.shape, negatives.shape[0]
    common = _common(dim, temperature, operand)
    tiles = tiles_for(rows, common["DIM_PAD"], operand, query, negatives)
    row_blocks, key_tiles = triton.cdiv(rows, tiles.rows), triton.cdiv(count, tiles.keys)
    tiles_per_split = max(1, triton.cdiv(key_tiles, max(1, _processors(query) // row_blocks)))
    splits = max(1, triton.cdiv(key_tiles, tiles_per_split))

    empty = lambda *shape, dtype=torch.float32: torch.empty(shape, dtype=dtype, device=query.device)
    tops, totals, ranks = (
        empty(splits, rows),
        empty(splits, rows),
        empty(splits, rows, dtype=torch.int64),
    )
    means = empty(splits, rows if with_grad else 0, dim)
    positive_dot = empty(rows)
    launch(
        partial_kernel,
        (row_blocks, splits),
        (
            *(
                query,
                positive,
                negatives,
                temperature,
                tops,
                totals,
                ranks,
                means,
                positive_dot,
                rows,
                count,
                tiles_per_split,
            ),
            *(*query.stride(), *positive.stride(), *negatives.stride()),
        ),
        {
            **common,
            "BLOCK_N": tiles.rows,
            "BLOCK_K": tiles.keys,
            "WHOLE_TILES": count % tiles.keys == 0,
            "EXCLUDE_DIAGONAL": exclude_diagonal,
            "WITH_GRAD": with_grad,
            "PRECISION": "tf32" if operand == "tf32" else "ieee",
            "UPCAST": INTERPRETED,
        },
        num_warps=tiles.warps,
        num_stages=tiles.stages,
    )

    private = 0 if extras is None else extras.shape[1]
    loss, lse, positive_logit, rank = (
        empty(rows),
        empty(rows),
        empty(rows),
        empty(rows, dtype=torch.int64),
    )
    top, total = empty(rows), empty(rows)
    extra_weights, dq = empty(rows, private), empty(rows if with_grad else 0, dim)
    extras = query[:, None] if extras is None else extras  # never read where M = 0
    block_m = max(1, min(triton.next_power_of_2(max(1, private)), 8192 // common["DIM_PAD"]))
    launch(
        merge_kernel,
        (rows,),
        (
            *(query, positive, extras, temperature, tops, totals, ranks, means, positive_dot),
            *(loss, lse, positive_logit, rank, top, total, extra_weights, dq),
            *(rows, splits, private, float(extra_scale), count - int(exclude_diagonal) + private),
            *(*query.stride(), *positive.stride(), *extras.stride()),
        ),
        {
            **common,
            "SPLITS_PAD": triton.next_power_of_2(splits),
            "BLOCK_S": max(1, min(triton.next_power_of_2(splits), 4096 // common["DIM_PAD"])),
            "BLOCK_M": block_m,
            "WITH_GRAD": with_grad,
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
    launch(
        negatives_grad_kernel,
        (triton.cdiv(count, tiles.rows),),
        (
            *(
                query,
                negatives,
                top,
                weight / unit.clamp_min(torch.finfo(weight.dtype).tiny),
                unit,
                temperature,
                grad,
                rows,
                count,
            ),
            *(*query.stride(), *negatives.stride(), *grad.stride()),
        ),
        {
            **common,
            "BLOCK_K": tiles.rows,
            "BLOCK_N": tiles.keys,
            "EXCLUDE_DIAGONAL": exclude_diagonal,
            "PRECISION": "tf32" if operand == "tf32" else "ieee",
            "UPCAST": INTERPRETED,
        },
        num_warps=tiles.warps,
        num_stages=tiles.stages,
    )
    return grad


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
