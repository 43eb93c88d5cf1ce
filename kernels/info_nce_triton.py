"""InfoNCE on the GPU: one sweep over the shared negatives, split over programs and merged in a
fixed order.

Here are the launches; the kernels are in info_nce_sweep_kernel.py and info_nce_triton_kernels.py,
their tile sizes in info_nce_tiles.py.
"""

from typing import NamedTuple

import torch

from .backend import interpreting
from .info_nce_call import LARGEST_BOUND, bounded
from .info_nce_sweep_kernel import sweep_kernel
from .info_nce_tiles import LARGEST_DIM, OPERANDS, options_of, sweep_tiles, tiles_for
from .info_nce_triton_kernels import merge_kernel, negatives_grad_kernel
from .launch import cdiv, next_power_of_2, processors
from .launch import launch as launch_now

# Read when @triton.jit decorates, so it must be read once, here, and nowhere else.
INTERPRETED = interpreting()

HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}

# Keys that one program may count in float32, which adds ones exactly up to here.
COUNTED = 2**24

# The greatest 1/T for which a bound may stand for the maximum in float16. Weights are 2^15 at the
# bound (HEADROOM) and 2^(15 - 2 log2(e) / T) at the other end, 2^-10 here, where float16, whose
# numbers end at 2^-24, has fourteen bits left.
HALF_BOUND = 8.6


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
    query, positive, negatives, extra, temperature, extra_scale, left_out, operand, wanted,
    launch=launch_now,
):  # fmt: skip
    """The outputs of `fastneg::info_nce` in two launches; arguments as in info_nce_torch.forward,
    `operand` by name."""
    count, query = len(negatives), _narrow(query, operand)
    common = {
        **_common(query.shape[1], temperature, operand),
        "WITH_GRAD": wanted.grad,
        "WITH_RANK": wanted.rank,
        "FIXED": wanted.normalised
        and bounded(temperature, HALF_BOUND if operand == "float16" else LARGEST_BOUND),
    }
    own = 0 if extra is None else extra.shape[1]
    parts = _sweep(query, positive, negatives, temperature, left_out, operand, common, launch)
    extra = query[:, None] if extra is None else extra  # never read where M = 0
    worst_rank = count - int(left_out.diagonal) + own
    sizes = own, float(extra_scale), worst_rank
    return _merge(query, positive, extra, temperature, parts, sizes, common, launch)


def _sweep(query, positive, negatives, temperature, left_out, operand, common, launch):
    (rows, dim), count = query.shape, len(negatives)
    hidden, mask_strides, constants = _left_out(left_out)
    plain = not any(constants.values()) and negatives.stride(1) == 1
    lean = plain and (common["FIXED"] or not common["WITH_RANK"])
    tiles = sweep_tiles(rows, common["DIM_PAD"], operand, query, negatives, lean)
    row_blocks, key_tiles = cdiv(rows, tiles.rows), cdiv(count, tiles.keys)
    # As many programs as the processors hold at a time, if the rows alone do not fill them.
    programs = processors(query.device) * tiles.resident
    tiles_per_split = max(1, cdiv(key_tiles, max(1, programs // row_blocks)))
    tiles_per_split = min(tiles_per_split, COUNTED // tiles.keys)
    splits = max(1, cdiv(key_tiles, tiles_per_split))
    empty = lambda *shape, dtype=torch.float32: torch.empty(shape, dtype=dtype, device=query.device)
    parts = Parts(
        empty(splits, rows),
        empty(splits, rows),
        empty(splits, rows if common["WITH_RANK"] else 0, dtype=torch.int32),
        empty(splits, rows if common["WITH_GRAD"] else 0, dim),
        empty(rows),
    )
    # Beyond this a place within a tile is no 32-bit number.
    reach = (tiles.keys - 1) * negatives.stride(0) + (common["DIM_PAD"] - 1) * negatives.stride(1)
    launch(
        sweep_kernel,
        (row_blocks, splits),
        (
            *(query, positive, negatives, temperature, *hidden, *parts),
            *(rows, count, tiles_per_split),
            *(*query.stride(), *positive.stride(), *negatives.stride(), *mask_strides),
        ),
        {
            **common,
            "BLOCK_N": tiles.rows,
            "BLOCK_K": tiles.keys,
            "WHOLE_TILES": count % tiles.keys == 0,
            "NARROW": reach < 2**31,
            # Products in float32 are not left by a tensor core: their layout is another.
            "BY_LANES": operand != "float32",
            **constants,
            **_product(operand),
        },
        **options_of(tiles),
    )
    return parts


def _narrow(query, operand):
    """The query in the dtype of its products: rounded within the kernel it would fill registers."""
    dtype = HALVES.get(operand)
    return query if dtype is None or query.element_size() == dtype.itemsize else query.to(dtype)


def _left_out(left_out):
    """(tensors, strides of the mask, constants) of a launch."""
    mask, query_labels, negative_labels = left_out[1:]
    strides = (0, 0) if mask is None else mask.stride()
    constants = {
        "EXCLUDE_DIAGONAL": left_out.diagonal,
        "MASKED": mask is not None,
        "LABELLED": query_labels is not None,
    }
    mask = None if mask is None else mask.view(torch.uint8)
    return (mask, query_labels, negative_labels), strides, constants


def _merge(query, positive, extra, temperature, parts, sizes, common, launch):
    """sizes: (M, extra_scale, the rank of a row whose loss is NaN)."""
    (rows, dim), splits, own = query.shape, len(parts.tops), sizes[0]
    empty = lambda *shape, dtype=torch.float32: torch.empty(shape, dtype=dtype, device=query.device)
    loss, lse, positive_logit = empty(rows), empty(rows), empty(rows)
    rank = empty(rows if common["WITH_RANK"] else 0, dtype=torch.int64)
    top, total, extra_weights = empty(rows), empty(rows), empty(rows, own)
    dq = empty(rows if common["WITH_GRAD"] else 0, dim)
    splits_pad, own_pad = (next_power_of_2(max(1, number)) for number in (splits, own))
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
    query, negatives, top, weight, temperature, left_out, operand, launch=launch_now
):
    """The output of `fastneg::info_nce_negatives_grad`; arguments as in
    info_nce_torch.negatives_grad, `operand` by name.

    `top` is the one that `forward` of this module gave: in base 2.
    """
    (rows, dim), count = query.shape, negatives.shape[0]
    grad = torch.empty(negatives.shape, dtype=negatives.dtype, device=negatives.device)
    if count == 0:
        return grad
    common, query = _common(dim, temperature, operand), _narrow(query, operand)
    tiles = tiles_for(count, common["DIM_PAD"], operand, query, negatives)
    # Weights of any magnitude (a gradient scaler's) become at most 1 in the half-precision product,
    # and return in float32 after it.
    unit = weight.abs().amax()
    scaled = weight / unit.clamp_min(torch.finfo(weight.dtype).tiny)
    hidden, mask_strides, constants = _left_out(left_out)
    launch(
        negatives_grad_kernel,
        (cdiv(count, tiles.rows),),
        (
            *(query, negatives, top, scaled, unit, temperature, *hidden, grad, rows, count),
            *(*query.stride(), *negatives.stride(), *grad.stride(), *mask_strides),
        ),
        {
            **common,
            "BLOCK_K": tiles.rows,
            "BLOCK_N": tiles.keys,
            **constants,
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
        "DIM_PAD": max(32, next_power_of_2(dim)),
        "OPERAND": OPERANDS[operand],
        "TENSOR_TEMPERATURE": isinstance(temperature, torch.Tensor),
    }
