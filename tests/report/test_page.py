"""The report as a reader gets it: parsed HTML, decoded images (fastneg.report.page,
fastneg.runs.folder, fastneg.runs.results, fastneg.runs.gallery, fastneg.report.blocks,
fastneg.report.sections.results, fastneg.report.sections.settings, fastneg.report.sections.training,
fastneg.report.sections.corruptions)."""

import base64
import io
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from fastneg.config import ConfigError, PretrainConfig, ReportConfig
from fastneg.recipes.arguments import build_config
from fastneg.recipes.presets import PRESETS, tiny_cpu, tiny_cpu_moco
from fastneg.recipes.report import run_report
from fastneg.report import intervals
from fastneg.report.blocks import with_best
from fastneg.report.entries import mean_cell
from fastneg.report.page import write_report
from fastneg.report.sections.settings import reproduce
from fastneg.runs import folder as run_folder
from fastneg.runs import gallery
from fastneg.runs.classifier import classifier_key
from helpers.report_runs import Page, add_rows, make_run, page_of


def test_the_page_is_one_file_that_loads_nothing(tmp_path):
    path = write_report(ReportConfig((make_run(tmp_path / "run"),), str(tmp_path / "report.html")))
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
        # clip paths and markers that a plot refers to are in the page
        assert not load.startswith("#") or load[1:] in page.ids
    # no temporary file stays, no others without asking
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "run"]


def test_figures_of_one_run(tmp_path):
    page = page_of(tmp_path, make_run(tmp_path / "run"))
    assert "61.2 %" in page.text or "61.3 %" in page.text
    # The later of two lines of a kind and set counts.
    assert [
        cells for cells in page.tables if cells[0].startswith("val") and cells[0] != "value"
    ] == [
        ["valin_domain.beton, 120 images, 12 classes, features", "61.2", "8.3"],
        ["val120 images, 12 classes", "55.5", "8.3"],
    ]
    assert page.row("in domain120")[1:] == ["61.2", "8.3"]
    assert page.row("in domain100 images, on the fly, 1 of the 15 corruptions of ImageNet-C")[
        1:
    ] == ["30.0", "8.3"]
    assert page.row("unseen texture")[1:] == ["33.8", "8.3"]  # 8 classes occur, 12 can be answered
    assert page.row("gaussian noise") == [
        "gaussian noise",
        "50.0",
        "40.0",
        "30.0",
        "20.0",
        "10.0",
        "30.0",
    ]
    assert page.row("shape bias")[1:] == ["40.0"] and page.row("coverage")[1:] == ["50.0"]
    assert "725 images/s" in page.text  # the median
    assert page.row("torch")[1] == "2.9.1" and page.row("device")[1] == "a CPU & more"
    assert page.row("queue_size")[1] == str(tiny_cpu().queue_size)
    assert page.plots == [
        "Top-1 accuracy by test set",
        "Shape or texture by category: swapped",
        "Accuracy by severity",
        "gaussian noise",
        "Loss",
        "Contrast accuracy",
        "Similarities",
        "Throughput",
    ]
    assert "Missing or damaged" not in page.text and "★" not in page.text


def test_several_runs_side_by_side(tmp_path):
    better = make_run(tmp_path / "a" / "run", top1=70.0, bias=60.0)
    other = make_run(tmp_path / "b" / "run", tiny_cpu_moco().replace(lr=0.5), negatives=0)
    for folder, top1 in ((better, 70.0), (other, 61.25)):
        row = {"kind": "accuracy", "set": "photos", "top1": top1, "images": 1500, "classes": 4}
        add_rows(Path(folder), row | {"top1_interval": [top1 - 2, top1 + 2]})
        add_rows(Path(folder), row | {"set": "few", "top1_interval": [top1 - 9, top1 + 9]})
    page = page_of(tmp_path, other, better)
    assert "b/run" in page.text and "a/run" in page.text  # equal folder names are told apart
    assert page.row("in domain120")[1:] == ["61.2", "70.0", "8.3"]
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    # The one row whose intervals lie apart: those of `few` overlap, all others have none.
    assert re.findall(r'<td class="n best"><span class="v">([\d.]+)<', text) == ["70.0"]
    assert page.row("photos")[1:3] == ["61.2[59.2, 63.2]", "70.0[68.0, 72.0]"]
    assert "overlapping intervals, so its order may be chance" in page.text
    assert page.text.count("(1 seed)") >= 2 and "A figure of 1 seed does not show" in page.text
    differing = text[text.index("The runs differ") : text.index("<summary>All settings")]
    assert sorted(re.findall(r'<th scope="row">(\w+)</th>', differing)) == ["lr", "negatives"]
    assert page.text.count("fastneg pretrain --preset") == 2


def test_groups_of_seeds_are_compared_by_students_intervals():
    """Of three seeds with deviation 1 the mean is known to ± 4.303 / √3 = 2.48."""
    groups = [mean_cell([value - 1.0, value, value + 1.0], 3) for value in (50.0, 54.9, 60.0)]
    assert intervals.bounds(groups[0]) == pytest.approx((47.516, 52.484), abs=1e-3)
    assert [cell.best for cell in with_best(groups)] == [False, False, True]
    assert [cell.best for cell in with_best(groups[:2])] == [False, False]
    assert intervals.bounds(mean_cell([50.0, 50.0], 2)) is None, "two that agree tell of no spread"
    assert intervals.bounds(mean_cell([50.0], 3)) is None


@pytest.mark.parametrize(
    "config",
    [
        tiny_cpu(),
        tiny_cpu_moco(),
        PretrainConfig(check_crc=True, resume="never"),
        PRESETS["moco_patch_ifm_in100"](),
    ],
)
def test_the_command_builds_the_very_config(tmp_path, config):
    config = config.replace(data="some data/train.beton", out="run's")
    run = run_folder.Run(tmp_path, "run", config=json.loads(json.dumps(config.as_dict())))
    program, command, *arguments = shlex.split(reproduce(run)[0])
    assert (program, command) == ("fastneg", "pretrain")
    # fields that do nothing beside the others: the command line refuses them
    idle = config.without_effect()
    built = build_config(command, arguments)
    assert {name: value for name, value in built.as_dict().items() if name not in idle} == {
        name: value for name, value in config.as_dict().items() if name not in idle
    }
    assert built.without_effect() == idle


def test_names_and_values_from_files_are_escaped(tmp_path):
    folder = make_run(tmp_path / "<b>run")
    environment = {"device": "<script>alert(1)</script>", "command": "a && <i>"}
    (tmp_path / "<b>run" / "environment.json").write_text(json.dumps(environment))
    bad = {"kind": "accuracy", "set": '"><img src=x>', "top1": 5.0, "images": 10, "classes": 2}
    add_rows(tmp_path / "<b>run", bad)
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
        file.write('{"kind": "similarity", "set": "e", "edges": [0, 0, 1], "positive": [1, 2]}\n')
        file.write(
            '{"kind": "corruptions", "set": "c", "mean_top1": 3, "by_corruption": {"fog": [1, '
            "2]}}\n"
        )
        file.write(
            '{"kind": "shape_bias", "set": "s", "shape_bias": 1, "coverage": 2, "by_category": '
            '{"arrow": {"shape": 1}}}\n'
        )
    jpeg = (folder / "gallery" / "0-query.jpg").read_bytes()
    (folder / "gallery" / "0-query.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (folder / "gallery" / "1-key.jpg").unlink()
    page = page_of(tmp_path, str(folder))
    assert "environment.json is damaged" in page.text
    assert (
        "metrics.jsonl: 2 lines (6, … " not in page.text
        and "metrics.jsonl: 2 lines (7, 8) could not be read" in page.text
    )
    assert "a line of kind 'linear' was left out, top1 is no number" in page.text
    assert "'similarity' was left out, rising edges" in page.text
    assert "'corruptions' was left out" in page.text and "'shape_bias' was left out" in page.text
    assert "0-query.jpg cannot be decoded" in page.text
    assert len(page.images) == 6 and page.words.count("missing") == 2
    assert page.row("unseen texture")[1] == "33.8" and len(page.plots) == 8


def test_a_run_that_did_not_come_to_its_end_is_named(tmp_path):
    make_run(tmp_path / "run")
    assert "not finished" not in page_of(tmp_path, str(tmp_path / "run")).text
    with open(tmp_path / "run" / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write(
            '{"kind": "start", "step": 40, "total_steps": 50}\n{"kind": "train", "step": 45, '
            '"loss": 1.0}\n'
        )
    assert (
        "the training is not finished: metrics.jsonl ends at step 45 of 50."
        in page_of(tmp_path, str(tmp_path / "run")).text
    )


def test_accuracies_are_shares_also_where_an_earlier_version_logged_percent(tmp_path):
    make_run(tmp_path / "run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    now = run_folder.read_run(tmp_path / "run", "now").rows
    start, *others = map(json.loads, lines)
    del start["accuracy_most"]
    for row in others:
        if row["kind"] == "train":
            row |= {name: 100 * row[name] for name in ("acc1", "acc5")}
    text = "".join(json.dumps(row) + "\n" for row in (start, *others))
    (tmp_path / "run" / "metrics.jsonl").write_text(text + "\n".join(lines) + "\n")  # went on
    both = run_folder.read_run(tmp_path / "run", "both").rows
    assert len(both) == 2 * len(now)
    for one, other in zip(both, now * 2, strict=True):
        assert one == pytest.approx(other)
    assert all(0 <= row["acc1"] <= row["acc5"] <= 1 for row in now)


def test_imported_weights_lack_nothing_and_show_no_settings_that_nobody_trained_with(tmp_path):
    folder = tmp_path / "run"
    make_run(folder, PretrainConfig(backbone="resnet18", negatives="none"))
    config = json.loads((folder / "config.json").read_text()) | {
        "data": "",
        "init": "weights/r18.pth",
    }
    (folder / "config.json").write_text(json.dumps(config))
    shutil.rmtree(folder / "gallery")
    (folder / "metrics.jsonl").unlink()
    page = page_of(tmp_path, str(folder))
    assert "Missing or damaged" not in page.text and "resnet18 · weights of r18.pth" in page.text
    assert (
        page.row("backbone")[1] == "resnet18"
        and not page.rows("temperature")
        and not page.rows("queue_size")
    )
    # the command that was recorded
    assert "fastneg pretrain" not in page.text and "fastneg demo" in page.text
    trained = make_run(tmp_path / "trained", PretrainConfig(backbone="resnet50", negatives="none"))
    text = page_of(tmp_path, str(folder), trained).source
    differing = text[text.index("Where they differ") : text.index("<summary>All settings")]
    assert set(re.findall(r'<th scope="row">(\w+)</th>', differing)) == {"backbone", "init"}


def test_the_command_says_what_is_amiss(tmp_path, capsys):
    make_run(tmp_path / "run")
    (tmp_path / "run" / "environment.json").write_text("{")
    before = sorted(path for path in (tmp_path / "run").rglob("*"))
    assert (
        run_report(
            ReportConfig((str(tmp_path / "run"),), str(tmp_path / "out" / "r.html"), files="on")
        )
        == 0
    )
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        f"Report: {tmp_path}/out/r.html",
        f"Plots and tables: {tmp_path}/out/r-files/",
    ]
    assert (
        said.err.startswith("fastneg report: run: environment.json is damaged: ")
        and said.err.count("\n") == 1
    )
    # nothing is written into a run
    assert sorted(path for path in (tmp_path / "run").rglob("*")) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "run"]


def test_chance_counts_the_classes_that_can_be_answered(tmp_path):
    make_run(tmp_path / "run")
    for test_set, arg_max in (("some", "present"), ("every", "all")):
        add_rows(
            tmp_path / "run",
            {
                "kind": "accuracy",
                "set": test_set,
                "top1": 9,
                "images": 5,
                "classes": 4,
                "arg_max": arg_max,
            },
        )
    page = page_of(tmp_path, str(tmp_path / "run"))
    assert page.row("some")[2] == "25.0" and "arg-max over present classes" in page.row("some")[0]
    assert page.row("every")[2] == "8.3" and "arg-max" not in page.row("every")[0]


def test_results_of_several_checkpoints_are_pointed_out(tmp_path):
    make_run(tmp_path / "run")
    assert "different checkpoints" not in page_of(tmp_path, str(tmp_path / "run")).text
    add_rows(tmp_path / "run", {"kind": "accuracy", "set": "late", "top1": 9, "checkpoint": "b.pt"})
    assert (
        "of different checkpoints (a.pt: knn val; b.pt: accuracy late)"
        in page_of(tmp_path, str(tmp_path / "run")).text
    )


def test_results_that_the_run_has_outgrown_are_pointed_out(tmp_path):
    """Of an earlier checkpoint than the newest, and of a classifier that another has replaced."""
    folder = tmp_path / "run"
    make_run(folder)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "step-000000040.pt").touch()
    layer = {"weight": torch.eye(4), "bias": torch.zeros(4)}
    torch.save({"classes": list("abcd"), **layer}, folder / "linear.pt")
    key = classifier_key(**layer)
    for name, own in (("new", key), ("old", "0" * 12)):
        add_rows(folder, {"kind": "accuracy", "set": name, "top1": 9.0, "classifier": own})
    text = page_of(tmp_path, str(folder)).text
    assert "all results are of a.pt, the newest checkpoint is step-000000040.pt" in text
    assert "of another classifier than linear.pt holds now (accuracy old): run fastneg" in text
    assert classifier_key(layer["weight"], layer["bias"] + 1e-6) != key


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
    expected = {
        "config.json": "resnet_tiny",
        "metrics.jsonl": "Throughput",
        "evaluation.jsonl": "33.8",
    }
    assert [name for name, word in expected.items() if word in page.text] == [kept]


def test_no_run_is_a_clear_error(tmp_path):
    run = make_run(tmp_path / "run")
    (tmp_path / "empty").mkdir()
    out = str(tmp_path / "report.html")
    with pytest.raises(ConfigError, match=r"absent is no folder"):
        write_report(ReportConfig((run, str(tmp_path / "absent")), out))
    with pytest.raises(ConfigError, match=r"empty is no run folder: it holds none of config\.json"):
        write_report(ReportConfig((str(tmp_path / "empty"),), out))
    with pytest.raises(ConfigError, match="twice"):
        write_report(ReportConfig((run, run + "/."), out))
    with pytest.raises(ConfigError, match="at least one"):
        write_report(ReportConfig((), out))
    assert not (tmp_path / "report.html").exists()
    (tmp_path / "folder.html").mkdir()
    # nothing of a run is written over
    for wrong in (tmp_path / "run" / "config.json", tmp_path / "folder.html"):
        with pytest.raises(
            ConfigError, match=r"a file to write was expected, such as report\.html"
        ):
            write_report(ReportConfig((run,), str(wrong)))


def test_a_large_picture_becomes_a_thumbnail_and_many_negatives_a_count(tmp_path):
    make_run(tmp_path / "run", negatives=7, size=(500, 250))
    page = page_of(tmp_path, str(tmp_path / "run"))
    assert len(page.images) == 2 * (3 + gallery.SHOWN_NEGATIVES)
    for source in page.images:
        with Image.open(io.BytesIO(base64.b64decode(source.split(",", 1)[1]))) as image:
            assert image.size == (224, 112)
    assert "(+3)" in page.text


def test_a_mean_over_some_corruptions_does_not_stand_beside_one_over_all(tmp_path):
    for name, means in (
        ("whole", {"mean_top1": 50.0}),
        ("part", {"mean_top1": None, "partial_mean_top1": 80.0, "mean_note": "It lacks fog."}),
    ):
        make_run(tmp_path / name, tiny_cpu().replace(lr=0.1 * len(name)))
        row = {
            "kind": "corruptions",
            "set": "in_domain",
            "by_corruption": {"snow": [80] * 5},
            "of_the_15": ["snow"],
            "images": 9,
        }
        add_rows(tmp_path / name, {**row, **means})
    page = page_of(tmp_path, *(str(tmp_path / name) for name in ("whole", "part")))
    found = [cells[1:3] for cells in page.rows("in domain")]
    assert ["50.0", "–"] in found and ["–", "80.0"] in found, found
    assert "It lacks fog." in page.text and "Mean over some of the corruptions" in page.text


def test_severities_without_the_others_stand_apart_and_no_curve_is_a_mean_over_unlike_corruptions(
    tmp_path,
):
    """Two seeds: one has fog whole and snow in part, the other has snow whole and a line of snow's
    parts from before."""
    for seed, (whole, part) in enumerate((("fog", "snow"), ("snow", "snow"))):
        make_run(tmp_path / f"s{seed}", tiny_cpu().replace(seed=seed))
        common = {"set": "c", "images": 9, "path": "/c"}
        add_rows(
            tmp_path / f"s{seed}",
            {"kind": "corruption_parts", **common, "by_corruption": {part: {"2": 61.5 + seed}}},
            {
                "kind": "corruptions",
                **common,
                "by_corruption": {whole: [70] * 5},
                "of_the_15": [whole],
                "partial_mean_top1": 70.0,
            },
        )
    page = page_of(tmp_path, *(str(tmp_path / f"s{seed}") for seed in range(2)))
    (row,) = page.rows("snow, severity 2")
    assert row[1].startswith("61.5") and "Severities without the others, in no mean" in page.text
    assert (
        "c, mean over corruptions" not in page.text and "Each corruption by severity" in page.text
    )
