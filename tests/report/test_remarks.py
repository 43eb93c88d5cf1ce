"""What the figures alone would hide is told: a default answer, chance beside coverage, an encoder
that is no better than an untrained one (fastneg.report.remarks, fastneg.report.intervals,
fastneg.report.sections.classes, fastneg.report.sections.shape_or_texture)."""

from pathlib import Path

import pytest

from fastneg.config import ReportConfig
from fastneg.recipes.presets import tiny_cpu
from fastneg.report.blocks import Cell
from fastneg.report.entries import Entry, group_runs
from fastneg.report.page import write_report
from fastneg.report.remarks import remarks
from fastneg.report.sections.classes import told_apart
from fastneg.runs.folder import Run, read_run
from fastneg.runs.results import chance_coverage
from helpers.report_runs import add_rows, make_run, page_of

CLASSES = {
    "ring": {"top1": 100.0, "images": 50, "answered": 65.7, "precision": 12.7},
    "dots": {"top1": 70.0, "images": 50, "answered": 8.0, "precision": 80.0},
    "bars": {"top1": 10.0, "images": 50, "answered": 1.0, "precision": 90.0},
    "cross": {"top1": 0.0, "images": 50, "answered": 0.0, "precision": None},
}
RING = {"class": "ring", "answered": 65.7, "images": 8.3}
SWAPPED = {"kind": "shape_bias", "set": "cues", "shape_bias": 40.0, "coverage": 61.0, "images": 600}
SWAPPED["by_category"] = {name: {"shape": 4, "texture": 6, "other": 10} for name in CLASSES}


def untrained(top1, low, high, **changes):
    """The two lines that are compared: a linear probe of 50% (46 to 54), and that of an untrained
    encoder."""
    common = {"set": "val", "path": "x/in_domain.beton", "mode": "features", "images": 600}
    linear = {
        "kind": "linear",
        **common,
        "top1": 50.0,
        "top1_interval": [46.0, 54.0],
        "classes": 12,
    }
    other = {
        "kind": "untrained",
        **common,
        "top1": top1,
        "top1_interval": [low, high],
        "classes": 12,
    }
    return linear, {**other, **changes}


@pytest.fixture
def run(tmp_path):
    folder = Path(make_run(tmp_path / "run"))
    row = {"kind": "accuracy", "set": "textures", "top1": 23.0, "images": 600, "classes": 12}
    add_rows(folder, {**row, "most_answered": RING})
    add_rows(
        folder, {"kind": "texture_classes", "set": "textures", "by_class": CLASSES, "images": 600}
    )
    add_rows(folder, {**SWAPPED, "chance_coverage": 12.5, "answered": {"ring": 70.0, "dots": 30.0}})
    return folder


def test_the_default_answer_does_not_lead_the_texture_bound_classes(run, tmp_path):
    page = page_of(tmp_path, str(run))
    rows = [cells for cells in page.tables if cells[0] in CLASSES and len(cells) == 4]
    assert rows == [
        ["dots", "70.0", "8.0", "80.0"],
        ["ring", "100.0", "65.7", "12.7"],
        ["bars", "10.0", "1.0", "90.0"],
        ["cross", "0.0", "0.0", "–"],
    ]
    assert "Recall alone would put the default answer first" in page.text
    remark = "one answer takes most: 66% of the answers are ring, 8% of the images"
    assert f"Read with care Textures: {remark}. Recall rewards that: see precision." in page.text
    assert page.text.count(remark) >= 2, "at the top, and beside the classes"


def test_several_runs_show_answers_and_precision_of_each(run, tmp_path):
    other = Path(make_run(tmp_path / "other", tiny_cpu().replace(lr=0.5)))
    add_rows(
        other,
        {
            "kind": "texture_classes",
            "set": "textures",
            "by_class": {"ring": {"top1": 9.0, "images": 50}},
        },
    )
    page = page_of(tmp_path, str(run), str(other))
    assert "run: precision %" in page.text and "other: answered %" in page.text
    assert ["ring", "100.0", "9.0", "65.7", "–", "12.7", "–"] in page.tables
    assert "run: textures: one answer takes most" in page.text


def test_lines_without_precision_say_so(tmp_path):
    folder = Path(make_run(tmp_path / "run"))
    plain = {name: {"top1": values["top1"], "images": 50} for name, values in CLASSES.items()}
    add_rows(folder, {"kind": "texture_classes", "set": "textures", "by_class": plain})
    add_rows(
        folder,
        {"kind": "accuracy", "set": "textures", "top1": 23.0, "most_answered": {"class": "ring"}},
    )
    page = page_of(tmp_path, str(folder))
    assert "these results give no precision" in page.text and "precision %" not in page.text
    assert "Read with care" not in page.text


def test_recall_and_precision_together_by_hand():
    assert told_apart([Cell(100.0)], [Cell(12.7)]) == pytest.approx(22.54, abs=0.01)
    assert told_apart([Cell(70.0), Cell()], [Cell(80.0), Cell()]) == pytest.approx(74.67, abs=0.01)
    assert told_apart([Cell(0.0)], [Cell()]) == 0 == told_apart([Cell(0.0)], [Cell(0.0)])
    assert told_apart([Cell(40.0)], [Cell()]) == 40


def test_chance_stands_beside_the_coverage(run, tmp_path):
    page = page_of(tmp_path, str(run))
    assert ["chance coverage2 of all categories", "12.5"] in page.tables
    # The older line of the set swapped says nothing of chance: the classifier's 12 classes are its
    # categories.
    assert ["chance coverage2 of all categories", "16.7"] in page.tables
    assert "swapped, chance coverage 16.7%" in page.text
    counts = [cells for cells in page.tables if cells[0] == "ring" and len(cells) == 5]
    assert counts == [["ring", "4", "6", "10", "70"]]


def test_chance_coverage_of_lines_that_tell_it_or_not():
    assert chance_coverage({"chance_coverage": 12.5, "categories": {"a": 1}}) == 12.5
    assert chance_coverage({"categories": dict.fromkeys(map(str, range(16)), 1)}) == 12.5
    assert chance_coverage({}, {"classes": 10}) == 20.0
    assert chance_coverage({}) is None and chance_coverage({}, {"classes": None}) is None


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(55.0, 63.0, "50.0% against 59.0%"), (52.0, 60.0, "50.0%"), (30.0, 44.0, "")],
)
def test_an_encoder_at_or_below_an_untrained_one_is_called_that(tmp_path, low, high, said):
    folder = Path(make_run(tmp_path / "run"))
    add_rows(folder, *untrained((low + high) / 2, low, high))
    told = []
    out = write_report(ReportConfig((str(folder),), str(tmp_path / "report.html")), told.append)
    text = out.read_text(encoding="utf-8")
    assert ("The encoder is at or below an untrained encoder: " + said in text) == bool(said)
    assert text.count("at or below an untrained encoder: see below") == (
        2 if said else 0
    )  # linear and kNN
    assert any(
        line.startswith("read with care: The encoder is at or below") for line in told
    ) == bool(said)
    assert "Linear probe of an untrained encoder" in text


def test_probes_of_other_settings_are_not_held_against_each_other(tmp_path):
    folder = Path(make_run(tmp_path / "run"))
    add_rows(folder, *untrained(90.0, 88.0, 92.0, mode="crops"))
    assert "at or below" not in page_of(tmp_path, str(folder)).text


def test_of_several_seeds_the_page_says_how_many(tmp_path):
    runs = []
    for seed, top1 in ((0, 59.0), (1, 10.0)):
        folder = Path(make_run(tmp_path / f"patch-s{seed}", tiny_cpu().replace(seed=seed)))
        add_rows(folder, *untrained(top1, top1 - 4, top1 + 4))
        runs.append(read_run(folder, folder.name))
    (said,) = remarks(group_runs(runs), [])
    assert said.startswith("The encoder is at or below") and said.endswith("(1 of 2 seeds).")


def test_one_seed_is_called_one_seed(tmp_path):
    assert Entry("a", (Run(Path("a"), "a"),)).seeds == "1 seed"
    assert Entry("a", (Run(Path("a"), "a", imported="w.pth"),)).seeds == ""
    page = page_of(tmp_path, make_run(tmp_path / "run"))
    assert "· 1 seed ·" in page.text
