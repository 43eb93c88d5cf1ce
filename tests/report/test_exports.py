"""Plots and tables as files beside the page (fastneg.report.exports)."""

import csv
import io
import re
import xml.etree.ElementTree as ElementTree

import pytest
from PIL import Image

from fastneg.config import ReportConfig
from fastneg.recipes.presets import tiny_cpu
from fastneg.report import exports
from fastneg.report.blocks import Cell, Column, Row, Table
from fastneg.report.page import write_report
from helpers.report_runs import add_new_kinds, add_rows, make_run, page_of

TABLE = Table(
    "t",
    "A table of 100%",
    "set",
    (Column("a_b"), Column("note", figures=False)),
    (
        Row("x & y", (Cell(12.345, std=0.5, best=True), Cell(text="$5 # {1}")), "said", "first"),
        Row("z", (Cell(-1.0), Cell(text="α 2"))),
        Row("w", (Cell(), Cell(text=""))),
    ),
)


def test_a_table_as_csv_keeps_full_precision():
    rows = list(csv.reader(io.StringIO(exports.to_csv(TABLE))))
    assert rows[0] == ["group", "set", "note", "a_b", "a_b std", "note"]
    assert rows[1] == ["first", "x & y", "said", "12.345", "0.5", "$5 # {1}"]
    assert rows[3] == ["", "w", "", "", "", ""]
    cell = Table("t", "", "set", (Column("a"),), (Row("x", (Cell(1.0, interval=(0.5, 1.5)),)),))
    assert exports.to_csv(cell) == "set,a,a low,a high\nx,1.0,0.5,1.5\n"


def test_a_table_as_latex():
    text = exports.to_latex(TABLE)
    assert r"\begin{tabular}{lrl}" in text and text.endswith("\\end{tabular}\n")
    assert r"x \& y & \textbf{12.3} {\scriptsize $\pm$ 0.5} & \$5 \# \{1\} \\" in text
    assert (
        r"set & a\_b & note \\" in text
        and r"z & $-$1.0 & $\alpha$ 2 \\" in text
        and r"w & -- &  \\" in text
    )
    body = [
        line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line
    ]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {2}


def test_latex_reads_a_row_as_it_is_meant():
    assert exports.latex("[a]* 10% of a--b_c ~ x|y\n#1 & {2}^3 \\ <tag>") == (
        r"{[}a]{*} 10\% of a-{}-b\_c \textasciitilde{} x\textbar{}y "
        r"\#1 \& \{2\}\textasciicircum{}3 \textbackslash{} $<$tag$>$"
    )


def test_letters_that_no_font_has_are_told_once(tmp_path, capsys, recwarn):
    runs = [
        make_run(tmp_path / name, tiny_cpu().replace(lr=lr))
        for name, lr in (("\U0001bc00a", 0.1), ("b", 0.2))
    ]
    said = []
    write_report(
        ReportConfig(tuple(runs), str(tmp_path / "out" / "r.html"), files="on"), tell=said.append
    )
    assert len(said) == 1 and "no font installed here has \U0001bc00" in said[0]
    assert not list(recwarn) and capsys.readouterr().err == ""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, beton):
    tmp_path = tmp_path_factory.mktemp("files")
    for number, name in enumerate(("one", "two")):
        make_run(tmp_path / name, tiny_cpu().replace(lr=0.1 + number))
        add_new_kinds(tmp_path / name, beton, number)
    page = page_of(tmp_path, str(tmp_path / "one"), str(tmp_path / "two"), files="on")
    return page, tmp_path / "out" / "report-files"


def test_every_plot_and_table_of_the_page_is_a_file(folder):
    page, files = folder
    names = {path.name for path in files.iterdir()}
    assert len([name for name in names if name.endswith(".svg")]) == len(page.plots)
    assert len([name for name in names if name.endswith(".csv")]) == page.source.count("<table>")
    for name in names - {"CONTENTS.txt"}:
        stem, suffix = name.rsplit(".", 1)
        assert {
            "svg": f"{stem}.png",
            "png": f"{stem}.svg",
            "csv": f"{stem}.tex",
            "tex": f"{stem}.csv",
        }[suffix] in names
    for path in files.glob("*.svg"):
        root = ElementTree.parse(path).getroot()
        assert root.get("width") and "var(--" not in path.read_text()
    for path in files.glob("*.png"):
        with Image.open(path) as image:
            image.load()
            assert image.width > 400
    results = list(csv.DictReader((files / "results.csv").open(encoding="utf-8")))
    photos = next(row for row in results if row["set"] == "photos" and row["group"] == "Test sets")
    assert (photos["one"], photos["one low"], photos["one high"]) == ("50.0", "35.0", "65.0")
    listed = [
        line.split("\t")[0]
        for line in (files / "CONTENTS.txt").read_text(encoding="utf-8").splitlines()
    ]
    assert sorted([*listed, "CONTENTS.txt"]) == sorted(names)


def test_sets_with_like_names_have_files_and_ids_of_their_own(tmp_path):
    make_run(tmp_path / "run")
    for test_set in ("a b", "a-b"):
        row = {
            "kind": "corruptions",
            "set": test_set,
            "mean_top1": 10.0 * len(test_set),
            "by_corruption": {"fog": [5, 4, 3, 2, 1]},
        }
        add_rows(tmp_path / "run", row)
    page = page_of(tmp_path, str(tmp_path / "run"), files="on")
    assert len(page.ids) == len(set(page.ids))
    names = {path.name for path in (tmp_path / "out" / "report-files").iterdir()}
    assert {
        "corruptions-a-b-mean.svg",
        "corruptions-a-b-mean-2.svg",
        "corruptions-a-b.csv",
        "corruptions-a-b-2.csv",
    } <= names


def test_files_of_an_earlier_report_go_and_those_of_others_stay(folder):
    _, files = folder
    tmp_path = files.parent.parent
    (files / "mine.csv").write_text("kept")
    assert (files / "settings-differing.csv").exists()
    page_of(tmp_path, str(tmp_path / "one"), files="on")
    assert (
        not (files / "settings-differing.csv").exists()
        and (files / "mine.csv").exists()
        and (files / "results.csv").exists()
    )
