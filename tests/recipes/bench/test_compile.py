"""Compiling the kernels is refused where they are interpreted; and the table of what the assembler
says of each holds all of them, and nothing that is no more."""

import ast
import csv
import os
from pathlib import Path

import pytest

from fastneg.kernels import registry
from fastneg.recipes.bench.compile import TARGETS, bench_compile

ROOT = Path(__file__).parents[3]


@pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") != "1", reason="Triton compiles in this process"
)
def test_interpreted_kernels_are_not_compiled():
    with pytest.raises(RuntimeError, match="TRITON_INTERPRET is set"):
        next(bench_compile())


@pytest.fixture(scope="module")
def table():
    """The rows of docs/benchmarks/compile.csv, figures as whole numbers."""
    figures = ("registers", "spill_bytes", "shared_bytes", "wgmma")
    with open(ROOT / "docs/benchmarks/compile.csv", encoding="utf-8") as file:
        return [
            {**row, **{name: int(row[name]) for name in figures}} for row in csv.DictReader(file)
        ]


@pytest.fixture(scope="module")
def shipped():
    """{target: {(kernel, configuration): budget}} of all that ships."""
    return {
        target: {
            (each.launch[0].__name__, each.config): each.budget
            for module in registry.KERNELS.values()
            for each in registry.shipped(module, architecture)
        }
        for target, architecture in TARGETS.items()
    }


def kernels_in_the_sources():
    """Names of all functions that are Triton kernels: those that it compiles, called *_kernel."""
    return {
        function.name
        for path in (ROOT / "kernels").glob("*.py")
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(function, ast.FunctionDef)
        and function.name.endswith("_kernel")
        and any("triton.jit" in ast.unparse(each) for each in function.decorator_list)
    }


@pytest.mark.parametrize("target", TARGETS)
def test_every_kernel_has_rows_for_every_target(table, shipped, target):
    kernels = kernels_in_the_sources()
    assert len(kernels) > 15
    assert {kernel for kernel, _ in shipped[target]} == kernels
    assert {row["kernel"] for row in table if row["target"] == target} == kernels, (
        "measure them: fastneg bench compile --csv docs/benchmarks/compile.csv"
    )


def test_the_table_holds_what_ships_and_each_once(table, shipped):
    told = [(row["target"], row["kernel"], row["config"]) for row in table]
    assert len(told) == len(set(told))
    gone = [each for each in told if each[1:] not in shipped[each[0]]]
    assert gone == [], "fastneg bench compile --csv docs/benchmarks/compile.csv"


@pytest.mark.parametrize("target", TARGETS)
def test_the_table_is_whole(table, shipped, target):
    assert {(row["kernel"], row["config"]) for row in table if row["target"] == target} == set(
        shipped[target]
    )


def test_the_budgets_of_hopper_are_kept(table, shipped):
    rows = {(row["kernel"], row["config"]): row for row in table if row["target"] == "sm_90"}
    over = {
        each: found
        for each, budget in shipped["sm_90"].items()
        if (found := budget.exceeded_by(rows[each]))
    }
    assert over == {}
