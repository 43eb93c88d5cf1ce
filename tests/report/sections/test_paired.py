"""Paired differences of runs of the same seeds."""

import pytest

from fastneg.recipes.presets import tiny_cpu, tiny_cpu_moco
from fastneg.report.blocks import Cell
from fastneg.report.entries import Entry
from fastneg.report.sections import paired
from fastneg.runs.folder import Run
from helpers.report_runs import make_run, page_of


def run(name, **config):
    return Run(name, name, config=config)


def test_paired_differences_by_hand():
    def entry(values, **config):
        runs = [run(f"r{seed}", seed=seed, **config) for seed in values]
        for each, value in zip(runs, values.values(), strict=True):
            each.results["accuracy", "x"] = {"top1": value}
        return Entry("e", tuple(runs))

    base = entry({0: 50.0, 1: 60.0, 2: 40.0}, negatives="none")
    other = entry({2: 43.0, 1: 61.0, 0: 52.0, 5: 99.0})
    found = paired.difference(base, other, "accuracy", "x", "top1")
    # differences 2, 1, 3: mean 2, standard deviation 1, half width 4.3027 / √3
    assert found.value == pytest.approx(2.0) and found.note == "3 pairs"
    assert found.interval == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))
    assert paired.difference(base, entry({7: 1.0, 0: 2.0}), "accuracy", "x", "top1") == Cell()
    same = paired.difference(base, entry({0: 51.0, 1: 61.0}), "accuracy", "x", "top1")
    assert (same.value, same.interval, same.note) == (pytest.approx(1.0), None, "equal in 2 pairs")
    assert paired.block([other, base]).title == "Differences from e, paired by seed"
    assert paired.block([base, entry({0: 1.0})]) is None
    assert [cell.value for row in paired.block([other, base]).rows for cell in row.cells] == [
        pytest.approx(2.0)
    ]


def test_the_page_gives_paired_differences_with_signs(tmp_path):
    runs = [
        make_run(
            tmp_path / f"moco-s{seed}", tiny_cpu_moco().replace(seed=seed), top1=60.0, negatives=0
        )
        for seed in (0, 1)
    ]
    runs += [
        make_run(tmp_path / f"patch-s{seed}", tiny_cpu().replace(seed=seed), top1=61.0 + 2 * seed)
        for seed in (0, 1)
    ]
    page = page_of(tmp_path, *runs)
    assert (
        page.row("top-1, in domain")[1] == "+2.0[−10.7, +14.7]"
        and page.row("shape bias, swapped")[1] == "0.0equal in 2 pairs"
    )
