"""Which tile sizes are chosen. test_compile.py holds them to compile without a spilled register."""

import pytest
import torch

from fastneg.kernels.info_nce_shipped import VARIANTS, shipped
from fastneg.kernels.info_nce_tiles import (
    HALF_TILES,
    LARGEST_DIM,
    LEAN_TILES,
    SINGLE_TILES,
    TF32_TILES,
    sweep_tiles,
    tiles_for,
)
from fastneg.kernels.launch import recorded_for


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


@pytest.mark.parametrize("dim", LEAN_TILES)
def test_sweeps_that_need_few_registers_share_a_multiprocessor(dim):
    keys = matrix(640, dim)
    tiles = lambda rows=4096, lean=True, keys=keys, operand="bfloat16": sweep_tiles(
        rows, dim, operand, matrix(8, dim), keys, lean
    )
    narrow = LEAN_TILES[dim]
    assert tiles() == narrow and 65536 // (narrow.registers * narrow.warps * 32) >= narrow.resident
    assert tiles(lean=False) == tiles(keys=matrix(641, dim)) == HALF_TILES[dim][1]
    assert tiles(rows=8) == HALF_TILES[dim][0]
    assert tiles(keys=matrix(640, dim, torch.float32)).registers is None
    for other in (80, 100):
        with recorded_for(other):
            assert tiles() == HALF_TILES[dim][1]


def test_what_ships_holds_the_lean_tiles_to_their_registers():
    budgets = {each.config: each.budget for each in shipped() if "sweep" in each.launch[0].__name__}
    lean = [name for name, budget in budgets.items() if budget.registers == 128]
    assert {name.partition("N=4096 ")[2] for name in lean} == {
        "unit rows", "unit rows, no ranks", "running maximum, no ranks", "unit rows, float32 query",
    }  # fmt: skip
    assert all(f"bfloat16 D=128 N=64 {name}" in budgets for name in VARIANTS)
