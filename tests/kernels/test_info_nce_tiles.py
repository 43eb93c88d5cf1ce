"""Tile sizes are found for every feature dimension, and are smaller where registers are scarce."""

import pytest
import torch

from fastneg.kernels.info_nce_tiles import (
    HALF_TILES,
    LARGEST_DIM,
    SINGLE_TILES,
    TF32_TILES,
    Tiles,
    tiles_for,
)

DIMENSIONS = [32, 64, 128, 256, 512, 1024]


@pytest.mark.parametrize(
    ("operand", "tiles", "dtype"),
    [
        ("float32", SINGLE_TILES, torch.float32),
        ("tf32", TF32_TILES, torch.float32),
        ("bfloat16", HALF_TILES, torch.bfloat16),
        ("float16", HALF_TILES, torch.float16),
    ],
)
def test_every_dimension_has_tiles_for_few_rows_and_for_many(operand, tiles, dtype):
    assert list(tiles) == DIMENSIONS and DIMENSIONS[-1] == LARGEST_DIM
    for dim in DIMENSIONS:
        matrix = torch.empty(4, dim, dtype=dtype)
        few, many = tiles[dim]
        assert tiles_for(few.rows, dim, operand, matrix) == few
        assert tiles_for(few.rows + 1, dim, operand, matrix) == many
        for each in (few, many):
            assert isinstance(each, Tiles) and each.rows >= 16 and each.keys >= 16


def test_what_costs_registers_takes_the_tiles_of_a_larger_dimension():
    half = torch.empty(4, 128, dtype=torch.bfloat16)
    assert tiles_for(4, 128, "bfloat16", half, half.float()) == HALF_TILES[256][0]
    unaligned = torch.empty(4, 130, dtype=torch.bfloat16)[:, :128]
    assert tiles_for(4, 128, "bfloat16", unaligned) == HALF_TILES[512][0]
    assert tiles_for(4, 1024, "bfloat16", unaligned.float()) == HALF_TILES[LARGEST_DIM][0]
