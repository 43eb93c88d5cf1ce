"""The report as a reader gets it: parsed HTML, decoded images, parsed SVG (fastneg.evaluation.report, fastneg.evaluation.run_folder,
fastneg.evaluation.plots)."""

import base64
import io
import json
import math
import re
import shlex
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest
from PIL import Image

from fastneg.config import ConfigError, PretrainConfig, ReportConfig
from fastneg.evaluation import plots, report, run_folder
from fastneg.recipes.cli import build_config
from fastneg.recipes.presets import PRESETS, tiny_cpu, tiny_cpu_moco

VOID = {"meta", "img", "br", "hr", "input", "link"}


class Page(HTMLParser):
    """Collects what a browser would show and load, and checks that elements nest."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.images, self.loads, self.ids, self.words, self.tables, self.svgs = [], [], [], [], [], [], 0
        self.hidden = 0
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag not in VOID:
            self.open.append(tag)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.svgs += tag == "svg"
        if tag == "img":
            self.images.append(attributes["src"])
        assert tag not in ("script", "iframe", "object", "embed", "link")
        self.loads += [attributes[name] for name in ("src", "href", "xlink:href", "srcset", "poster", "action") if name in attributes]
        self.loads += re.findall(r"url\(([^)]*)\)", attributes.get("style") or "")
        if tag == "tr":
            self.tables.append([])
        if tag in ("td", "th") and self.tables:
            self.tables[-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            self.loads += re.findall(r"url\(([^)]*)\)|@import", data)
            return
        self.words.append(data)
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1] += data

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def make_run(folder, config=None, top1=61.25, bias=40.0, negatives=1, size=(32, 32)):
    """A run folder as pretrain and evaluate write it."""
    (folder / "gallery").mkdir(parents=True)
    config = (config or tiny_cpu()).replace(data="train.beton", out=str(folder))
    (folder / "config.json").write_text(json.dumps(config.as_dict()))
    environment = {"versions": {"torch": "2.9.1"}, "device": "a CPU & more", "cores": 2, "commit": None, "command": "fastneg demo"}
    (folder / "environment.json").write_text(json.dumps(environment))
    rows = [{"kind": "start", "step": 0, "total_steps": 40}]
    for step in range(10, 50, 10):
        figures = {"loss": 9 - step / 10, "acc1": step, "acc5": 2 * step, "positive_similarity": 0.5, "queue_similarity": 0.1}
        rows.append({"kind": "train", "step": step, "epoch": 0, **figures, "images_per_s": 700 + step, "data_wait_share": 0.1})
        if negatives:
            rows[-1]["negative_similarity"] = 0.3
    write_lines(folder / "metrics.jsonl", rows)
    categories = {"arrow": {"shape": 4, "texture": 6, "other": 0}, "bolt": {"shape": 0, "texture": 0, "other": 10}}
    write_lines(
        folder / "evaluation.jsonl",
        [
            {"kind": "linear", "set": "val", "top1": 1.0, "top5": 2.0, "images": 120, "classes": 12, "mode": "features"},
            {"kind": "linear", "set": "val", "top1": top1, "images": 120, "classes": 12, "mode": "features", "path": "x/in_domain.beton"},
            {"kind": "knn", "set": "val", "top1": 55.5, "images": 120, "classes": 12, "checkpoint": "a.pt"},
            {"kind": "accuracy", "set": "in_domain", "top1": top1, "images": 120, "classes": 12},
            {"kind": "accuracy", "set": "unseen_texture", "top1": 33.75, "images": 120, "classes": 8},
            {"kind": "corruptions", "set": "in_domain", "mean_top1": 30.0, "by_corruption": {"gaussian_noise": [50, 40, 30, 20, 10]}}
            | {"source": "on the fly", "of_the_15": ["gaussian_noise"], "images": 100, "arg_max": "all"},
            {"kind": "shape_bias", "set": "swapped", "shape_bias": bias, "coverage": 50.0, "by_category": categories},
        ],
    )
    for i in range(2):
        for name in ("image", "query", "key", *(f"negative-{m}" for m in range(negatives))):
            Image.new("RGB", size, (40 * i, 90, 200)).save(folder / "gallery" / f"{i}-{name}.jpg")
    return str(folder)


def page_of(tmp_path, *runs):
    path = report.write_report(ReportConfig(runs, str(tmp_path / "out" / "report.html")))
    return Page(path.read_text(encoding="utf-8"))


def row(page, start):
    """The cells of the last row that begins so."""
    return [cells for cells in page.tables if cells and cells[0].startswith(start)][-1]


def test_the_page_is_one_file_that_loads_nothing(tmp_path):
    path = report.write_report(ReportConfig((make_run(tmp_path / "run"),), str(tmp_path / "report.html")))
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert len(page.images) == 2 * 4
    for source in page.images:
        head, data = source.split(",", 1)
        assert head == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(base64.b64decode(data, validate=True))) as image:
            image.load()
            assert image.size == (32, 32)
    assert page.loads and all(load.startswith(("data:", "#")) for load in page.loads)
    assert not re.search(r"https?:|//\w+\.\w", re.sub(r"base64,[\w+/=]+", "", text))
    assert len(page.ids) == len(set(page.ids))
    for load in page.loads:
        assert not load.startswith("#") or load[1:] in page.ids  # clip paths and markers that a plot refers to are in the page
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "run"]  # no temporary file stays


def test_figures_of_one_run(tmp_path):
    page = page_of(tmp_path, make_run(tmp_path / "run"))
    assert "61.2 %" in page.text or "61.3 %" in page.text
    # The later of two lines of a kind and set counts.
    assert [cells for cells in page.tables if cells[0].startswith("val") and cells[0] != "value"] == [
        ["valin_domain.beton, 120 images, 12 classes, features", "61.2", "8.3"],
        ["val120 images, 12 classes", "55.5", "8.3"],
    ]
    assert row(page, "in domain120")[1:] == ["61.2", "8.3"]
    assert row(page, "in domain100 images, on the fly, 1 of the 15 corruptions of ImageNet-C")[1:] == ["30.0", "8.3"]
    assert row(page, "unseen texture")[1:] == ["33.8", "8.3"]  # 8 classes occur, 12 can be answered
    assert row(page, "gaussian noise") == ["gaussian noise", "50.0", "40.0", "30.0", "20.0", "10.0", "30.0"]
    assert re.search(r"shape bias 40\.0 ?% ?, coverage 50\.0 ?%", page.text)
    assert "725 images/s" in page.text  # the median
    assert row(page, "torch")[1] == "2.9.1" and row(page, "device")[1] == "a CPU & more"
    assert row(page, "queue_size")[1] == str(tiny_cpu().queue_size)
    assert page.svgs == 4 + 1 + 1 + 1
    assert "Missing or damaged" not in page.text and "★" not in page.text


def test_several_runs_side_by_side(tmp_path):
    better = make_run(tmp_path / "a" / "run", top1=70.0, bias=60.0)
    other = make_run(tmp_path / "b" / "run", tiny_cpu_moco().replace(lr=0.5), negatives=0)
    page = page_of(tmp_path, other, better)
    assert "b/run" in page.text and "a/run" in page.text  # equal folder names are told apart
    assert row(page, "in domain120")[1:] == ["61.2", "70.0", "8.3"]
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert re.findall(r'<td class="n best">([\d.]+)</td>', text).count("70.0") == 2  # linear and accuracy
    assert '<td class="n best">61.2' not in text
    differing = text[text.index("The runs differ") : text.index("<details")]
    assert sorted(re.findall(r"<code>(\w+)</code></th>", differing)) == ["lr", "negatives"]
    assert page.text.count("fastneg pretrain --preset") == 2


def test_ties_are_all_best_and_a_lone_figure_is_not():
    assert [cell["best"] for cell in report._cells([50.0, None, 50.001, 49.0])] == [True, False, True, False]
    assert [cell["best"] for cell in report._cells([50.0, None])] == [False, False]


@pytest.mark.parametrize(
    "config", [tiny_cpu(), tiny_cpu_moco(), PretrainConfig(check_crc=True, resume="never"), PRESETS["moco_patch_ifm_in100"]()]
)
def test_the_command_builds_the_very_config(tmp_path, config):
    config = config.replace(data="some data/train.beton", out="run's")
    run = run_folder.Run(tmp_path, "run", config=json.loads(json.dumps(config.as_dict())))
    program, command, *arguments = shlex.split(report.reproduce(run)[0])
    assert (program, command) == ("fastneg", "pretrain")
    assert build_config(command, arguments) == config


def test_names_and_values_from_files_are_escaped(tmp_path):
    folder = make_run(tmp_path / "<b>run")
    environment = {"device": "<script>alert(1)</script>", "command": "a && <i>"}
    (tmp_path / "<b>run" / "environment.json").write_text(json.dumps(environment))
    bad = {"kind": "accuracy", "set": '"><img src=x>', "top1": 5.0, "images": 10, "classes": 2}
    with open(tmp_path / "<b>run" / "evaluation.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(bad) + "\n")
    page = page_of(tmp_path, folder)  # Page refuses a script
    assert "<script>alert(1)</script>" in page.text and '"><img src=x>' in page.text
    assert len(page.images) == 8


def test_missing_and_damaged_pieces_are_named_and_the_rest_is_shown(tmp_path):
    folder = tmp_path / "run"
    make_run(folder, size=(40, 30))
    (folder / "environment.json").write_text('{"device": ')
    with open(folder / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write('{"kind": "train", "step": 50, "loss": NaN, "acc1": "much"}\n[1]\n{"kind": "tr')
    with open(folder / "evaluation.jsonl", "a", encoding="utf-8") as file:
        file.write('{"kind": "linear", "set": "other", "top1": null}\n')
        file.write('{"kind": "corruptions", "set": "c", "mean_top1": 3, "by_corruption": {"fog": [1, 2]}}\n')
        file.write('{"kind": "shape_bias", "set": "s", "shape_bias": 1, "coverage": 2, "by_category": {"arrow": {"shape": 1}}}\n')
    jpeg = (folder / "gallery" / "0-query.jpg").read_bytes()
    (folder / "gallery" / "0-query.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (folder / "gallery" / "1-key.jpg").unlink()
    page = page_of(tmp_path, str(folder))
    assert "environment.json is damaged" in page.text
    assert "metrics.jsonl: 2 lines (6, … " not in page.text and "metrics.jsonl: 2 lines (7, 8) could not be read" in page.text
    assert "a line of kind 'linear' was left out, top1 is no number" in page.text
    assert "'corruptions' was left out" in page.text and "'shape_bias' was left out" in page.text
    assert "0-query.jpg cannot be decoded" in page.text
    assert len(page.images) == 6 and page.words.count("missing") == 2
    assert row(page, "unseen texture")[1] == "33.8" and page.svgs == 7


def test_chance_counts_the_classes_that_can_be_answered(tmp_path):
    make_run(tmp_path / "run")
    for test_set, arg_max in (("some", "present"), ("every", "all")):
        with open(tmp_path / "run" / "evaluation.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": "accuracy", "set": test_set, "top1": 9, "images": 5, "classes": 4, "arg_max": arg_max}) + "\n")
    page = page_of(tmp_path, str(tmp_path / "run"))
    assert row(page, "some")[2] == "25.0" and "arg-max over present classes" in row(page, "some")[0]
    assert row(page, "every")[2] == "8.3" and "arg-max" not in row(page, "every")[0]


def test_results_of_several_checkpoints_are_pointed_out(tmp_path):
    make_run(tmp_path / "run")
    assert "different checkpoints" not in page_of(tmp_path, str(tmp_path / "run")).text
    with open(tmp_path / "run" / "evaluation.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps({"kind": "accuracy", "set": "late", "top1": 9, "checkpoint": "b.pt"}) + "\n")
    assert "of different checkpoints (a.pt: knn val; b.pt: accuracy late)" in page_of(tmp_path, str(tmp_path / "run")).text


@pytest.mark.parametrize("kept", ["config.json", "metrics.jsonl", "evaluation.jsonl"])
def test_any_one_file_makes_a_page(tmp_path, kept):
    folder = tmp_path / "run"
    make_run(folder)
    for path in [*folder.glob("*.json*"), *(folder / "gallery").iterdir()]:
        if path.name != kept:
            path.unlink()
    page = page_of(tmp_path, str(folder))
    for name in {"config.json", "environment.json", "metrics.jsonl", "evaluation.jsonl"} - {kept}:
        assert f"{name} is missing" in page.text
    assert "gallery/ is missing or empty" in page.text
    expected = {"config.json": "resnet_tiny", "metrics.jsonl": "Throughput", "evaluation.jsonl": "33.8"}
    assert [name for name, word in expected.items() if word in page.text] == [kept]


def test_no_run_is_a_clear_error(tmp_path):
    run = make_run(tmp_path / "run")
    (tmp_path / "empty").mkdir()
    out = str(tmp_path / "report.html")
    with pytest.raises(ConfigError, match=r"absent is no folder"):
        report.write_report(ReportConfig((run, str(tmp_path / "absent")), out))
    with pytest.raises(ConfigError, match=r"empty is no run folder: it holds none of config\.json"):
        report.write_report(ReportConfig((str(tmp_path / "empty"),), out))
    with pytest.raises(ConfigError, match="twice"):
        report.write_report(ReportConfig((run, run + "/."), out))
    with pytest.raises(ConfigError, match="at least one"):
        report.write_report(ReportConfig((), out))
    assert not (tmp_path / "report.html").exists()


def test_a_large_picture_becomes_a_thumbnail_and_many_negatives_a_count(tmp_path):
    make_run(tmp_path / "run", negatives=7, size=(500, 250))
    page = page_of(tmp_path, str(tmp_path / "run"))
    assert len(page.images) == 2 * (3 + run_folder.SHOWN_NEGATIVES)
    for source in page.images:
        with Image.open(io.BytesIO(base64.b64decode(source.split(",", 1)[1]))) as image:
            assert image.size == (224, 112)
    assert "(+3)" in page.text


# Plots: coordinates read back from the SVG


def parsed(svg):
    return ElementTree.fromstring(svg.replace("xlink:href", "href"))


def styles(svg):
    return [element.get("style", "") for element in parsed(svg).iter()]


def test_plots_take_all_colours_from_the_page():
    runs = [(str(n), {"a": 10.0 * n}) for n in range(8)]
    svg = plots.bars("b", "label", ["a"], runs, {"a": 50.0})
    used = {color for style in styles(svg) for color in re.findall(r"(?:fill|stroke): ([^;]+)", style)}
    assert used <= {"none", "var(--ink)", "var(--muted)", "var(--line)", *(f"var(--series-{n})" for n in range(plots.SERIES))}
    assert {f"var(--series-{n})" for n in range(1, 6)} <= used
    assert "http" not in svg and "<metadata" not in svg and 'aria-label="label"' in svg


def test_bars_are_as_long_as_the_figures():
    svg = plots.bars("b", "label", ["x", "y"], [("run", {"x": 80.0, "y": 20.0})], {})
    widths = []
    for element in parsed(svg).iter():
        if "fill: var(--series-0)" in element.get("style", ""):
            xs = [float(x) for x in re.findall(r"[ML] ([\d.]+) ", element.get("d"))]
            widths.append(max(xs) - min(xs))
    assert len(widths) == 2 and math.isclose(widths[0] / widths[1], 4, rel_tol=1e-3)


def test_category_matrix_puts_markers_and_the_mean_line_at_texture_over_decisions():
    decisions = {"a": (3, 1, 4), "b": (0, 4, 0), "c": (0, 0, 9)}
    counts = {name: dict(zip(("shape", "texture", "other"), values, strict=True)) for name, values in decisions.items()}
    svg = plots.category_matrix("m", "label", ["a", "b", "c"], [("run", counts)])
    markers = [float(e.get("x")) for e in parsed(svg).iter() if e.tag == "use" and "fill: var(--series-0)" in e.get("style", "")]
    assert len(markers) == 2  # c was never decided
    line = next(e for e in parsed(svg).iter() if "stroke: var(--series-0)" in e.get("style", "") and e.tag == "path" and "d" in e.attrib)
    mean = float(re.match(r"M ([\d.]+)", line.get("d"))[1])
    assert math.isclose((mean - markers[0]) / (markers[1] - markers[0]), (5 / 8 - 1 / 4) / (1 - 1 / 4), rel_tol=1e-2)
    filled = [e for e in parsed(svg).iter() if e.get("style", "").startswith("fill: var(--series-0)") and "d" in e.attrib]
    spans = [max(xs) - min(xs) for e in filled if (xs := [float(x) for x in re.findall(r"[ML] ([\d.]+) ", e.get("d"))])]
    assert math.isclose(spans[-2] / spans[-3], 2, rel_tol=1e-2) and spans[-1] < 1e-6  # coverage 1/2, 1 and 0


def test_curves_average_long_runs_and_skip_what_is_absent():
    xs, ys = plots.thinned(range(1, 1001), [1.0, 3.0] * 500, limit=100)
    assert len(xs) == 100 and ys == [2.0] * 100 and xs[0] == 10 and xs[-1] == 1000
    assert plots.thinned([1, 2, 3], [5.0, math.nan, 7.0]) == ([1, 3], [5.0, 7.0])
    rows = [{"step": 1, "positive_similarity": 0.1}, {"step": 2, "positive_similarity": 0.2}]
    assert plots.curves("c", "label", [("run", rows)], {"loss": ""}) is None
    svg = plots.curves("c", "label", [("run", rows)], {"positive_similarity": "pos", "negative_similarity": "neg"})
    assert ">pos<" in svg and ">neg<" not in svg
