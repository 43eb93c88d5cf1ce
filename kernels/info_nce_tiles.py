"""The tile sizes of info_nce's kernels, by feature dimension and by the dtype of the products."""

import contextlib
from typing import NamedTuple

import torch
import triton
import triton.language as tl

from .launch import capability

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
    registers: int | None = None
    """At most so many a thread, by the assembler's order; None: as many as it likes."""
    resident: int = 1
    """Programs of the sweep that one multiprocessor holds at a time: while one takes exponentials,
    the tensor cores work for another."""

    def __str__(self):
        limit = "" if self.registers is None else f" registers={self.registers}"
        return (
            f"{self.rows}x{self.keys} warps={self.warps} stages={self.stages}{limit} "
            f"resident={self.resident}"
        )


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
LEAN_TILES = {
    32: Tiles(128, 64, 8, 3, registers=128, resident=2),
    64: Tiles(128, 64, 8, 3, registers=128, resident=2),
    128: Tiles(128, 64, 8, 3, registers=128, resident=2),
}
"""Of sweeps of many rows in half precision that need so few registers that two programs share a
multiprocessor, on Hopper: see `sweep_tiles`."""
LEAN_SINCE = 3, 6
"""The first Triton known to compile them without spilling; 3.2 spills 200 bytes."""
VERSION = tuple(map(int, triton.__version__.split(".")[:2]))
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


def sweep_tiles(rows, dim_padded, operand, query, negatives, lean=False):
    """The tile sizes of the sweep; those of `use_tiles` go before the tables'.

    lean: no pair is left out, and either the maximum is known (unit rows) or ranks
        are not counted: what is live at a time fits into 128 registers.
    """
    if _forced:
        return _forced[-1]
    tiles, narrow = (
        tiles_for(rows, dim_padded, operand, query, negatives),
        LEAN_TILES.get(dim_padded),
    )
    if not lean or narrow is None or tiles.rows < narrow.rows or VERSION < LEAN_SINCE:
        return tiles
    if capability(negatives.device) // 10 != 9:
        return tiles  # for sm_80 and sm_100 they spill
    half = operand in ("bfloat16", "float16") and negatives.element_size() == 2
    whole = len(negatives) % narrow.keys == 0
    return narrow if half and whole and _aligned(query) and _aligned(negatives) else tiles


def options_of(tiles):
    """The launch options of some tile sizes."""
    options = {"num_warps": tiles.warps, "num_stages": tiles.stages}
    if tiles.registers is not None and torch.version.hip is None:  # an option for NVIDIA's GPUs
        options["maxnreg"] = tiles.registers
    return options


@contextlib.contextmanager
def use_tiles(tiles):
    """Within it every sweep has these tile sizes: for benchmarks that compare them."""
    _forced.append(tiles)
    try:
        yield
    finally:
        _forced.remove(tiles)


_forced = []


def _aligned(matrix):
    return min(matrix.stride()) == 1 and max(matrix.stride()) % 16 == 0
