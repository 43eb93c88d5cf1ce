"""The page of a study: the verdict on top, four figures, a table of each beside it."""

import csv
import json

import pytest

from fastneg.config import ConfigError
from fastneg.recipes.cli import main
from fastneg.report.blocks import leaves
from fastneg.report.study import make_study_report, write_study_report
from fastneg.study.folder import results_of
from helpers.study_folders import study_folder

FIGURES = ("per-seed", "trade", "differences", "over-training")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = study_folder(tmp_path_factory.mktemp("page") / "study")
    out = folder / "report.html"
    assert main(["report", str(folder), "--out", str(out)]) == 0
    return folder, out.read_text(encoding="utf-8")


def cells(folder, name):
    with open(folder / "report-files" / f"{name}.csv", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_verdict_stands_on_top_with_its_conditions(written):
    _, page = written
    lead = page.split('<p class="lead">')[1].split("</p>")[0]
    assert "(5 seeds; simclr, built-in set, cpu, 2,400 steps a run, dose 12.5)" in lead
    assert "It says nothing of other data" in lead
    assert page.index('class="lead"') < page.index("<section")
    assert page.count('<svg class="plot"') == 4 and "prefers-color-scheme: dark" in page
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page


def test_each_figure_has_its_numbers_beside_it(written):
    folder, _ = written
    files = {path.name for path in (folder / "report-files").iterdir()}
    assert {f"{name}.{kind}" for name in FIGURES for kind in ("csv", "svg", "png")} <= files
    rows = {(row["arm"], row["seed"]): row for row in results_of(folder) if row["stage"] == "main"}
    by_seed = cells(folder, "per-seed")
    assert [row["seed"] for row in by_seed] == [f"seed {n}" for n in range(5)]
    assert float(by_seed[2]["swapped, patch"]) == rows["patch", 2]["swapped"]
    found = {row["outcome"]: row for row in cells(folder, "differences")}
    mean = sum(rows["patch", n]["swapped"] - rows["none", n]["swapped"] for n in range(5)) / 5
    assert float(found["swapped"]["− none"]) == pytest.approx(mean)
    assert float(found["swapped"]["− none low"]) < mean < float(found["swapped"]["− none high"])
    curve = cells(folder, "over-training")
    assert [row["step"] for row in curve] == ["100", "500", "900", "1300", "1700", "2100"]
    assert float(curve[0]["share of the softmax, none"]) == pytest.approx(0.29)


def test_equal_time_is_a_second_view(written):
    """The treatment of the main stage against the plain arm that trained longer, by seed."""
    folder, page = written
    assert "this is a second view" in page
    rows = {(row["arm"], row["seed"]): row for row in results_of(folder) if row["stage"] != "dose"}
    found = {row["arm"]: row for row in cells(folder, "equal-time")}
    assert set(found) == {"none longer", "patch"}
    name = "swapped − none longer"
    mean = (
        sum(rows["patch", n]["swapped"] - rows["none_longer", n]["swapped"] for n in range(5)) / 5
    )
    assert float(found["patch"][name]) == pytest.approx(mean)
    assert found["none longer"][name] == ""
    assert float(found["patch"]["train seconds"]) == 200.0


def test_further_arms_are_marked_as_hints(written):
    folder, page = written
    assert "Exploratory: these arms were not named before" in page
    arms = [row["arm"] for row in cells(folder, "explore-arms")]
    assert arms[0] == "none" and "texture" in arms
    assert "small patches" in arms and [row["arm"] for row in cells(folder, "dose-arms")][1:]


def test_a_study_that_has_only_begun_says_so(tmp_path):
    folder = study_folder(tmp_path / "study", stages=("dose",))
    report, head = make_study_report(folder)
    assert "No verdict yet" in head["lead"]
    assert [section.name for section in report.sections] == ["dose", "runs"]
    write_study_report(folder, tmp_path / "page.html")
    one = study_folder(tmp_path / "one", seeds=(0,), stages=("main",))
    lead = make_study_report(one)[1]["lead"]
    assert lead.startswith("Undecided (1 seed;") and "1 whole block" in lead
    write_study_report(one, tmp_path / "one.html")


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (lambda row: row["arm"] != "none", "the main stage has no runs of the arm none"),
        (lambda row: row["arm"] != "random_image", "0 whole blocks"),
        (lambda row: (row["arm"], row["seed"]) != ("patch", 1), "1 whole block"),
    ],
)
def test_a_stage_without_whole_blocks_has_no_table_of_the_verdict(tmp_path, kept, said):
    folder = study_folder(tmp_path / "study", seeds=(0, 1), stages=("main",))
    rows = [row for row in results_of(folder) if kept(row)]
    (folder / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report, head = make_study_report(folder)
    assert said in head["lead"]
    tables = [block.name for section in report.sections for block in leaves(section.blocks)]
    assert "arms" in tables and "verdict" not in tables


def test_the_dose_may_be_named(tmp_path):
    """Else it is that of the newest run."""
    folder = study_folder(tmp_path / "study", seeds=(0, 1), stages=("main",))
    weak = study_folder(tmp_path / "weak", seeds=(0, 1, 2), stages=("main",), dose=5.0)
    with open(folder / "results.jsonl", "ab") as file:
        file.write((weak / "results.jsonl").read_bytes())
    for doses, said in ((None, "dose 5)"), ({"main": 12.5}, "dose 12.5)")):
        assert said in make_study_report(folder, doses)[1]["lead"]


def test_a_study_without_results_is_refused(tmp_path, capsys):
    folder = study_folder(tmp_path / "study", seeds=(), stages=("main",))
    with pytest.raises(ConfigError, match="holds no results yet"):
        make_study_report(folder)
    assert main(["report", str(folder), "--out", str(tmp_path / "x.html")]) == 1
    assert "holds no results yet" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["results.jsonl", "study.json"])
def test_a_page_is_not_written_over_what_the_study_holds(tmp_path, name):
    folder = study_folder(tmp_path / "study", seeds=(0, 1), stages=("main",))
    before = (folder / name).read_bytes()
    linked = tmp_path / "page.html"
    linked.hardlink_to(folder / name)
    for out in (folder / name, linked):
        assert main(["report", str(folder), "--out", str(out)]) == 2
    assert (folder / name).read_bytes() == before


def test_rows_of_an_earlier_version_are_shown(tmp_path):
    """Without curves and seconds of training."""
    folder = study_folder(tmp_path / "study", seeds=(0, 1), stages=("main",))
    rows = results_of(folder)
    for row in rows:
        del row["curve"], row["train_seconds"], row["cache"], row["jobs"]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "results.jsonl").write_text(text)
    report, _ = make_study_report(folder)
    names = [block.name for block in report.sections[0].blocks if hasattr(block, "name")]
    assert names == ["per-seed", "trade", "differences"]
    write_study_report(folder, tmp_path / "page.html")
