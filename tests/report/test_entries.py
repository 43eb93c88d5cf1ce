"""Runs that differ in their seed alone, and runs that differ in alpha alone
(fastneg.report.entries, fastneg.report.sections.paired, fastneg.report.sections.alpha)."""

import pytest

from fastneg.config import ConfigError, ReportConfig
from fastneg.recipes.presets import tiny_cpu, tiny_cpu_moco
from fastneg.report.blocks import Cell
from fastneg.report.entries import Entry, alpha_families, group_name, group_runs, mean_cell
from fastneg.report.sections.alpha import baselines
from fastneg.runs.folder import Run
from helpers.report_runs import add_rows, make_run, page_of


def run(name, **config):
    return Run(name, name, config=config)


def test_runs_that_differ_in_their_seed_alone_are_one():
    runs = [
        run("patch-s0", seed=0, lr=1.0, out="a", threads=1),
        run("other", seed=0, lr=2.0, out="b", threads=1),
        run("patch-s1", seed=1, lr=1.0, out="c", threads=8),
        run("bare"),
    ]  # of the settings that are not named here, all have the defaults
    entries = group_runs(runs)
    assert [(entry.name, len(entry.runs)) for entry in entries] == [
        ("patch", 2),
        ("other", 1),
        ("bare", 1),
    ]
    assert entries[0].config == {"lr": 1.0, "threads": 1} and entries[0].seeds == "2 seeds"
    assert [entry.name for entry in group_runs(runs, "none")] == [
        "patch-s0",
        "other",
        "patch-s1",
        "bare",
    ]


def test_settings_that_an_earlier_version_did_not_know_count_as_their_defaults():
    now = tiny_cpu().replace(seed=1).as_dict()
    before = {name: value for name, value in tiny_cpu().as_dict().items() if name != "feature_dim"}
    assert len(group_runs([run("p0", **before), run("p1", **now)])) == 1
    assert len(group_runs([run("p0", **before), run("p1", **{**now, "feature_dim": 64})])) == 2


def test_repetitions_of_one_seed_are_no_seeds():
    assert [
        len(entry.runs) for entry in group_runs([run("a", seed=0, lr=1), run("b", seed=0, lr=1)])
    ] == [1, 1]


@pytest.mark.parametrize(
    ("names", "name"),
    [
        (["patch-s0", "patch-s1"], "patch"),
        (["moco0", "moco1"], "moco"),
        (["a1-10", "a1-11"], "a1"),
        (["runs/patch_seed0", "runs/patch_seed1"], "runs/patch"),
        (["s0/patch", "s1/patch"], "patch"),
        (["one", "two"], "one and 1 more"),
        (["alone-s0"], "alone-s0"),
    ],
)
def test_a_group_is_called_by_what_its_names_share(names, name):
    assert group_name(names) == name


def test_mean_and_standard_deviation_by_hand():
    assert mean_cell([1.0, 3.0], 2) == Cell(2.0, std=2**0.5, runs=2)
    assert mean_cell([1.0], 3) == Cell(1.0, note="1 of 3 seeds")
    row = {"kind": "accuracy", "set": "x", "top1": 50.0, "top1_interval": [40.0, 60.0]}
    one, two = run("a"), run("b")
    one.results["accuracy", "x"] = row
    two.results["accuracy", "x"] = {**row, "top1": 52.0}
    assert Entry("a", (one,)).cell("accuracy", "x", "top1") == Cell(50.0, interval=(40.0, 60.0))
    assert Entry("ab", (one, two)).cell("accuracy", "x", "top1") == Cell(51.0, std=2**0.5, runs=2)
    assert Entry("a", (one,)).cell("accuracy", "y", "top1") == Cell()


def test_the_page_gives_mean_and_spread_of_seeds(tmp_path):
    runs = [
        make_run(tmp_path / f"patch-s{seed}", tiny_cpu().replace(seed=seed), top1=60.0 + 4 * seed)
        for seed in (0, 1)
    ]
    page = page_of(tmp_path, *runs)
    assert page.row("in domain120")[1] == "62.0±\u20092.8[36.6, 87.4]"
    assert "2 seeds" in page.text
    assert page.row("arrow")[1:] == ["8", "12", "0"]  # counts of both
    separate = page_of(tmp_path, *runs, group="none")
    assert separate.row("in domain120")[1:3] == ["60.0", "64.0"]
    with pytest.raises(ConfigError, match="group"):
        ReportConfig(tuple(runs), group="some")


def alphas(tmp_path, *values):
    return [
        make_run(
            tmp_path / f"a{alpha}",
            tiny_cpu().replace(alpha=alpha),
            top1=60 + alpha,
            bias=40 + alpha,
        )
        for alpha in values
    ]


def test_families_are_of_alpha_alone(tmp_path):
    def entry(**config):
        return Entry("x", (run("x", **{"seed": 0, "lr": 1.0, **config}),))

    entries = [
        entry(negatives="patch", alpha=2.0, patch_min=4),
        entry(negatives="none", alpha=9.0, patch_min=None),
        entry(negatives="patch", alpha=0.5, patch_min=4),
        entry(negatives="patch", alpha=1.0, patch_min=8),
        entry(negatives="none", alpha=1.0, lr=3.0),
        entry(negatives="patch", alpha=None, patch_min=4),
    ]
    assert alpha_families(entries) == [[2, 0]]
    assert baselines(entries, [2, 0]) == [1]


def test_the_page_shows_the_trade_off_in_alpha(tmp_path):
    baseline = make_run(tmp_path / "moco", tiny_cpu_moco(), negatives=0)
    page = page_of(tmp_path, *alphas(tmp_path, 2.0, 0.5), baseline)
    assert {
        "linear probe, val against alpha",
        "shape bias, swapped against alpha",
        "Accuracy against shape bias",
    } <= set(page.plots)
    head = page.rows("%")[0]
    assert head[1:] == ["none · moco", "α 0.5 · a0.5", "α 2 · a2.0"]
    assert page.row("shape bias, swapped")[1:] == ["40.0", "40.5", "42.0"]
    assert "Dashed" in page.text
    lone = page_of(tmp_path, baseline)
    assert "trade-off" not in lone.text and "Accuracy against shape bias" not in lone.plots


def test_new_lines_of_one_run_do_not_hide_older_ones_of_another(tmp_path):
    runs = [make_run(tmp_path / f"p{seed}", tiny_cpu().replace(seed=seed)) for seed in (0, 1)]
    add_rows(tmp_path / "p0", {"kind": "few_shot", "set": "val", "share": 1, "top1": 12.0})
    assert ["val", "12.01 of 2 seeds", "8.3"] in page_of(tmp_path, *runs).tables
