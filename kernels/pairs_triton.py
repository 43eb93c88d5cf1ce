"""The losses of pairs on the GPU: each tile of the products is made once in a pass.

Weights of pairs go through a matrix of at most SIDE² of them, which stays in the GPU's cache, and
from there into both gradients at once. So larger inputs are done in square blocks of pairs. The
kernels are in pairs_triton_kernels.py. Nothing is added atomically: the same call on the same GPU
gives the same bits.

Shapes: n rows of one side, m of the other, D feature dimension.
"""

from typing import NamedTuple

import torch
from torch.nn.functional import pad

from .backend import interpreting
from .info_nce_call import stored_dtype
from .launch import capability, cdiv, processors
from .launch import launch as launch_now
from .pairs_triton_kernels import (
    pair_merge_kernel,
    pair_product_kernel,
    pair_sigmoid_kernel,
    pair_softmax_kernel,
    pair_sums_kernel,
)

# Read when @triton.jit decorates, so it must be read once, here, and nowhere else.
INTERPRETED = interpreting()

SIDE = 4096
"""Rows and columns of the matrix of weights at most: 32 MiB in half precision."""
LONG_SIDE = 16384
"""Of a block of pairs of which only sums are wanted."""
MERGED = 128
"""Sums that a program of the merge makes."""


class Tiles(NamedTuple):
    """Rows and columns of a tile of a product, how much of the summed dimension is loaded at a
    time, warps of a program, stages of its load pipeline."""

    rows: int
    columns: int
    depth: int
    warps: int
    stages: int

    @property
    def options(self):
        return {"num_warps": self.warps, "num_stages": self.stages}


# Largest first, by the bytes of an element; none spills a register (tests/kernels/test_launch.py).
PAIR_TILES = {
    2: (Tiles(128, 128, 64, 8, 3), Tiles(64, 64, 64, 4, 3)),
    4: (Tiles(64, 64, 32, 8, 2), Tiles(32, 32, 32, 4, 3)),
}
"""Of the products of pairs."""
GRADIENT_TILES = {2: (Tiles(128, 256, 64, 8, 3), *PAIR_TILES[2]), 4: PAIR_TILES[4]}
"""Of the products with the weights, on Hopper: the widest spills for sm_80 and sm_100."""


def sigmoid(first, second, scale, bias, own, with_grad, operand, launch=launch_now):
    """As pairs_torch.sigmoid, `operand` by name."""
    x, y = _operands(first, second, operand)
    grads = _Gradients(x, y, own) if with_grad else None
    losses, sums = [], []
    for block in _blocks(x, y, own, SIDE if with_grad else LONG_SIDE):
        tiles, grid = _tiles(block.x, *block.lengths)
        found = _empty(x, 2 if with_grad else 1, grid[0] * grid[1])
        weights = grads.weights if with_grad else None
        diagonal = grads.diagonal(block) if with_grad else None
        launch(
            pair_sigmoid_kernel,
            grid,
            (
                *(block.x, block.y, scale, bias, found[0], found[-1], diagonal, weights),
                *(
                    *block.lengths,
                    block.width,
                    *block.strides,
                    weights.stride(0) if with_grad else 0,
                ),
            ),
            {"WITH_GRAD": with_grad, **block.constants(tiles, operand)},
            **tiles.options,
        )
        losses.append(found[0])
        sums.append(found[-1])
        if with_grad:
            grads.add(block, operand, launch)
    if not with_grad:
        none = _empty(x, 0, first.shape[1])
        return _sum(losses), _empty(x), none, none
    return _sum(losses), _sum(sums), *grads.both(first.shape[1])


def sums(first, second, scale, own, operand, launch=launch_now):
    """As pairs_torch.sums, `operand` by name."""
    x, y = _operands(first, second, operand)
    rows, columns = _empty(x, len(x)), _empty(x, len(y))
    positives = _empty(x, len(x) if own else 0)
    for block in _blocks(x, y, own, LONG_SIDE):
        tiles, grid = _tiles(block.x, *block.lengths)
        row_parts, column_parts = _empty(x, grid[1], len(block.x)), _empty(x, grid[0], len(block.y))
        launch(
            pair_sums_kernel,
            grid,
            (
                *(block.x, block.y, scale, row_parts, column_parts),
                *(positives[block.rows] if block.own else None, *block.lengths, *block.strides),
            ),
            block.constants(tiles, operand),
            **tiles.options,
        )
        # What earlier blocks gave stands before this one's.
        into = rows[block.rows], columns[block.columns]
        fresh = block.columns.start == 0, block.rows.start == 0
        found = [
            old if new else torch.empty_like(old) for old, new in zip(into, fresh, strict=True)
        ]
        launch(
            pair_merge_kernel,
            (cdiv(max(map(len, into)), MERGED), 2),
            (row_parts, column_parts, *found, *map(len, into), grid[1], grid[0]),
            {"BLOCK": MERGED},
            num_warps=4,
        )
        for old, new in zip(into, found, strict=True):
            if old is not new:
                torch.logaddexp(old, new, out=old)
    return rows, columns, positives


def softmax(
    first, second, scale, row_sums, column_sums, row_weights, column_weights, own, operand,
    launch=launch_now,
):  # fmt: skip
    """As pairs_torch.softmax, `operand` by name."""
    x, y = _operands(first, second, operand)
    unit = None
    if x.dtype == torch.float16:
        # Weights of any magnitude (a gradient scaler's) become at most 1 in the product.
        unit = torch.maximum(row_weights.abs().amax(), column_weights.abs().amax())
        unit = unit.clamp_min(torch.finfo(unit.dtype).tiny)
        row_weights, column_weights = row_weights / unit, column_weights / unit
    diagonal = row_weights.add(column_weights).neg_() if own else None
    grads = _Gradients(x, y, own, diagonal)
    for block in _blocks(x, y, own, SIDE):
        tiles, grid = _tiles(block.x, *block.lengths)
        launch(
            pair_softmax_kernel,
            grid,
            (
                *(block.x, block.y, scale, row_sums[block.rows], column_sums[block.columns]),
                *(row_weights[block.rows], column_weights[block.columns], grads.weights),
                *(*block.lengths, block.width, *block.strides, grads.weights.stride(0)),
            ),
            block.constants(tiles, operand),
            **tiles.options,
        )
        grads.add(block, operand, launch)
    both = grads.both(first.shape[1])
    return both if unit is None else tuple(grad.mul_(unit) for grad in both)


class _Block(NamedTuple):
    """Pairs of some rows of both sides."""

    x: torch.Tensor
    y: torch.Tensor
    rows: slice
    columns: slice
    own: bool
    """Whether pairs of the same number in it belong together."""

    @property
    def lengths(self):
        return len(self.x), len(self.y)

    @property
    def strides(self):
        return self.x.stride(0), self.y.stride(0)

    @property
    def width(self):
        """Columns of its weights: see `pairs_triton_kernels`."""
        return _aligned(len(self.y))

    def constants(self, tiles, operand):
        """Of a launch that makes the products of this block."""
        whole = not (len(self.x) % tiles.rows or len(self.y) % tiles.columns)
        return {
            "DIM": self.x.shape[1],
            "BLOCK_N": tiles.rows,
            "BLOCK_M": tiles.columns,
            "BLOCK_D": tiles.depth,
            "OWN": self.own,
            "WHOLE": whole and self.x.shape[1] % tiles.depth == 0,
            **_product(operand),
        }


def _blocks(x, y, own, side):
    """`_Block`s that cover all pairs, no side of one longer than `side`, and all alike."""
    rows, columns = _slices(len(x), side), _slices(len(y), side)
    for one in rows:
        for other in columns:
            yield _Block(x[one], y[other], one, other, own and one == other)


def _slices(count, side):
    """Slices of alike lengths, multiples of the largest tile but for the last."""
    length = cdiv(cdiv(count, cdiv(count, side)), 128) * 128
    return [slice(start, min(start + length, count)) for start in range(0, count, length)]


class _Gradients:
    """W y and Wᵀ x, added up block by block."""

    def __init__(self, x, y, own, diagonal=None):
        self.to_first, self.to_second = (_empty(each, *each.shape) for each in (x, y))
        if own and diagonal is None:
            diagonal = _empty(x, len(x))
        self._diagonal = diagonal
        block = next(_blocks(x, y, own, SIDE))
        self.weights = x.new_empty(len(block.x), block.width)
        """Where the weights of each block go."""

    def diagonal(self, block):
        """Where the weights of pairs that belong together are; None where a block has none."""
        return self._diagonal[block.rows] if block.own else None

    def both(self, dim):
        """(to_first, to_second) without the columns that fill up D."""
        return tuple(
            grad if grad.shape[1] == dim else grad[:, :dim].contiguous()
            for grad in (self.to_first, self.to_second)
        )

    def add(self, block, operand, launch):
        """The part of a block, whose weights are made."""
        into = self.to_first[block.rows], self.to_second[block.columns]
        add, dim = [block.columns.start > 0, block.rows.start > 0], block.x.shape[1]
        # The diagonal and what is added to would take more registers than the widest tile leaves.
        wide = capability(block.x.device) // 10 == 9 and not (block.own and any(add))
        choices = GRADIENT_TILES if wide else PAIR_TILES
        tiles, grid = _tiles(block.x, max(block.lengths), dim, choices, 2)
        whole = not any(length % max(tiles.rows, tiles.depth) for length in block.lengths)
        launch(
            pair_product_kernel,
            (*grid, 2),
            (
                *(self.weights, self.diagonal(block), block.x, block.y, *into),
                *(*block.lengths, block.width, *block.strides, self.weights.stride(0)),
            ),
            {
                "DIM": dim,
                "BLOCK_N": tiles.rows,
                "BLOCK_D": tiles.columns,
                "BLOCK_M": tiles.depth,
                "OWN": block.own,
                "ADD_FIRST": add[0],
                "ADD_SECOND": add[1],
                "WHOLE": whole and len(set(block.lengths)) == 1 and dim % tiles.columns == 0,
                **_product(operand),
            },
            **tiles.options,
        )


def _tiles(like, rows, columns, choices=PAIR_TILES, times=1):
    """(tiles, grid) of a product (rows, columns) that is made `times` times in a launch: the
    largest tiles of which there are enough for the processors."""
    for tiles in choices[like.element_size()]:
        grid = cdiv(rows, tiles.rows), cdiv(columns, tiles.columns)
        if times * grid[0] * grid[1] >= 0.9 * processors(like.device):
            break
    return tiles, grid


def _operands(first, second, operand):
    """Both sides as the products take them, each row a number of whole vectors: D is filled up with
    zeros where it is none."""
    dtype = stored_dtype(operand)
    dim, found = first.shape[1], []
    for side in (first, second):
        side = side.to(dtype)
        if dim % 16:
            side = pad(side, (0, _aligned(dim) - dim))
        elif side.stride(1) != 1 or side.stride(0) % 16 or side.storage_offset() % 16:
            side = side.clone(memory_format=torch.contiguous_format)
        found.append(side)
    return found


def _aligned(count):
    """The next multiple of 16: rows that begin at one are loaded and stored as vectors."""
    return (count + 15) // 16 * 16


def _product(operand):
    return {"PRECISION": "tf32" if operand == "tf32" else "ieee", "UPCAST": INTERPRETED}


def _empty(like, *shape):
    return torch.empty(shape, dtype=torch.float32, device=like.device)


def _sum(parts):
    """The sum of all elements of some vectors."""
    return (parts[0] if len(parts) == 1 else torch.cat(parts)).sum()
