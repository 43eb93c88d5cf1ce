"""Which tile sizes are chosen. test_compile.py holds them to compile without a spilled register."""

import pytest
import torch

from fastneg.kernels.info_nce_tiles import (
    HALF_TILES,
    LARGEST_DIM,
    SINGLE_TILES,
    TF32_TILES,
    tiles_for,
)


def matrix(rows, dim, dtype=torch.bfloat16):
    return torch.empty(rows, dim, dtype=dtype, device="meta")


@pytest.mark.parametrize("dim", HALF_TILES)
def test_few_rows_take_the_smaller_tiles(dim):
    few, many = HALF_TILES[dim]
    assert tiles_for(few.rows, dim, "bfloat16", matrix(8, dim)) == few
    assert tiles_for(few.rows + 1, dim, "bfloat16", matrix(8, dim)) == many


def test_the_products_have_tables_of_their_own():
    assert tiles_for(4096, 128, "tf32", matrix(8, 128, torch.float32)) == TF32_TILES[128][1]
    assert tiles_for(4096, 128, "float32", matrix(8, 128, torch.float32)) == SINGLE_TILES[128][1]


def test_what_costs_registers_takes_the_tiles_of_a_larger_dimension():
    assert tiles_for(4096, 128, "bfloat16", matrix(8, 125)) == HALF_TILES[512][1]  # unaligned
    rounded = matrix(8, 128, torch.float32)
    assert tiles_for(4096, 128, "bfloat16", rounded) == HALF_TILES[256][1]
    assert tiles_for(4096, LARGEST_DIM, "bfloat16", matrix(8, 1023)) == HALF_TILES[LARGEST_DIM][1]
    columns = matrix(128, 64).t()  # (64, 128) of the MoCo family's layout, aligned
    assert tiles_for(4096, 128, "bfloat16", columns) == HALF_TILES[128][1]
