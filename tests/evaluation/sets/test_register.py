"""A kind of test set from outside the package: its own layout on disk, view rule, score and line,
through `fastneg evaluate` to the report."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from fastneg import plugins
from fastneg.config import ConfigError, EvaluateConfig, ReportConfig
from fastneg.data import BetonReader, BetonWriter
from fastneg.evaluation.context import Context
from fastneg.evaluation.evaluate import evaluate_set
from fastneg.evaluation.linear import LinearClassifier, load_linear, save_linear
from fastneg.evaluation.sets import SetKind, register
from fastneg.evaluation.sets.named import NamedSet, parse_sets
from fastneg.evaluation.sets.registry import KINDS, kind_of, metrics
from fastneg.models.backbones import build_backbone
from fastneg.recipes.cli import main
from fastneg.recipes.evaluate import run_evaluate
from fastneg.recipes.presets import tiny_cpu
from fastneg.recipes.report import run_report
from fastneg.report.page import make_report
from fastneg.runs import checkpoint
from fastneg.runs.folder import read_run
from fastneg.runs.load import load_run

DOCS = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "extend.md"


def write_plug_in(path):
    [code] = re.findall(r"```python\n(# my_sets\.py.*?)```", DOCS.read_text(), re.DOTALL)
    path.write_text(code)


@pytest.fixture
def plug_in(tmp_path):
    """The module of a user's own file, the one that the documentation shows; what it registers is
    forgotten afterwards."""
    before = list(KINDS)
    write_plug_in(tmp_path / "my_sets.py")
    spec = importlib.util.spec_from_file_location("my_sets", tmp_path / "my_sets.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    KINDS[:] = before


@pytest.fixture
def run(tmp_path):
    """A run of an untrained encoder with a classifier of four classes that tells looks apart."""
    config = tiny_cpu().replace(image_size=32, eval_resize=36, data="x", out=str(tmp_path / "run"))
    torch.manual_seed(0)
    backbone, _ = build_backbone(config.backbone, config.image_size)
    weights = {f"query_encoder.backbone.{key}": own for key, own in backbone.state_dict().items()}
    checkpoint.save(tmp_path / "run", 4, {"config": config.as_dict(), "method": weights}, keep=1)
    (tmp_path / "run" / "config.json").write_text(json.dumps(config.as_dict()))
    loaded = load_run(tmp_path / "run")
    head = LinearClassifier(loaded.feature_dim, 4, list("abcd"))
    torch.nn.init.normal_(head.weight, generator=torch.Generator().manual_seed(0))
    save_linear(tmp_path / "run", head, loaded)
    return tmp_path / "run"


@pytest.fixture
def tiles(tmp_path):
    """Six tiles and their copies upside down, of which the last two are the same as the tile."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 48, 40, 3), dtype=np.uint8)
    turned = pixels[:, ::-1].copy()
    turned[4:] = pixels[4:]
    (tmp_path / "tiles").mkdir()
    both = np.stack([pixels, turned], 1).reshape(12, 48, 40, 3)
    np.save(tmp_path / "tiles" / "tiles.npy", both)
    return tmp_path / "tiles"


def evaluate(run, sets, **options):
    return run_evaluate(EvaluateConfig(str(run), sets, device="cpu", threads=1, **options))


def rows_of(run):
    return [json.loads(line) for line in (run / "evaluation.jsonl").read_text().splitlines()]


def test_a_registered_kind_goes_from_disk_to_the_report(plug_in, run, tiles, tmp_path, capsys):
    assert evaluate(run, f"my-tiles={tiles}") == 0
    [row] = rows_of(run)
    assert (row["kind"], row["set"], row["images"]) == ("tiles", "my-tiles", 6)
    assert (row["resize"], row["resize_by"]) == ("none", "published"), "its own rule of view"
    assert row["alike"] in [100 * n / 6 for n in range(2, 7)], "two tiles are their own copies"
    assert row["path"].endswith("tiles.beton") and row["checkpoint"].startswith("step-")
    printed = capsys.readouterr().out
    assert f"my-tiles: {row['alike']:.1f}% of 6 tiles are answered alike" in printed
    assert "see below" in printed and "read whole" in printed
    assert read_run(run, "run").results["tiles", "my-tiles"] == row
    table = next(
        block for block in make_report([run]).sections[0].blocks if block.name == "results"
    )
    [shown] = [found for found in table.rows if found.group == "Tiles answered alike upside down"]
    assert (shown.head, shown.cells[0].value) == ("my-tiles", row["alike"])
    assert run_report(ReportConfig([str(run)], out=str(tmp_path / "r.html"))) == 0
    assert "Tiles answered alike upside down" in (tmp_path / "r.html").read_text()


def test_the_command_line_finds_it_in_fastneg_plugins(run, tiles, tmp_path, monkeypatch, capsys):
    before = list(KINDS)
    write_plug_in(tmp_path / "my_sets.py")
    monkeypatch.setattr(plugins, "_loaded", set())
    monkeypatch.setenv(plugins.VARIABLE, str(tmp_path / "my_sets.py"))
    try:
        assert main(["evaluate", "--run", str(run), "--sets", f"t={tiles}:tiles"]) == 0
    finally:
        KINDS[:] = before
    assert [row["kind"] for row in rows_of(run)] == ["tiles"]


def test_a_set_is_evaluated_from_python(plug_in, run, tiles):
    loaded, said = load_run(run), []
    config = EvaluateConfig(str(run), "unused", device="cpu", threads=1)
    context = Context(config, loaded, load_linear(run, loaded), report=said.append)
    [row], problems = evaluate_set("t", NamedSet(str(tiles), "tiles", 40), context)
    assert (row["kind"], row["resize"], problems) == ("tiles", 40, [])
    assert said[0].startswith("t: shorter side scaled to 40 px")
    assert not (run / "evaluation.jsonl").exists(), "who calls it appends the lines"


def test_its_metric_and_a_view_by_hand(plug_in, run, tiles):
    assert "tiles" in metrics() and parse_sets(f"t={tiles}:tiles")["t"].metric == "tiles"
    assert isinstance(kind_of(tiles), plug_in.Tiles)
    assert not isinstance(kind_of(tiles, "accuracy"), plug_in.Tiles)
    assert evaluate(run, f"t={tiles}:tiles:resize=40") == 0
    assert [(row["resize"], row["resize_by"]) for row in rows_of(run)] == [(40, "hand")]


def test_sets_of_other_layouts_are_scored_as_before(plug_in, run, tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (8, 40, 48, 3), dtype=np.uint8)
    with BetonWriter(tmp_path / "val.beton", ("label",), classes=list("abcd")) as writer:
        for number, image in enumerate(pixels):
            writer.add_raw(image, label=number % 4)
    assert evaluate(run, f"val={tmp_path / 'val.beton'}") == 0
    assert [row["kind"] for row in rows_of(run)] == ["accuracy", "per_class", "embedding"]
    assert {row["resize_by"] for row in rows_of(run)} == {"run"}


def test_a_kind_may_add_to_the_line_of_accuracy_by_content(run, tmp_path):
    class Mirrored(SetKind):
        """Any set that is called so."""

        def fits(self, name, path, reader):
            return name == "mirrored"

        def fields(self, reader, index, judged, arg_max):
            return {"mirrored": len(index)}

    before = list(KINDS)
    try:
        register(Mirrored())
        with BetonWriter(tmp_path / "x.beton", ("label",), classes=["a", "b"]) as writer:
            for number in range(4):
                writer.add_raw(np.full((40, 40, 3), 50 * number, np.uint8), label=number % 2)
        with BetonReader(tmp_path / "x.beton") as reader:
            assert len(reader) == 4
        assert evaluate(run, f"mirrored={tmp_path / 'x.beton'},other={tmp_path / 'x.beton'}") == 0
    finally:
        KINDS[:] = before
    assert [row.get("mirrored") for row in rows_of(run) if row["kind"] == "accuracy"] == [4, None]


def test_what_is_no_kind_is_refused():
    with pytest.raises(TypeError, match="an instance of a class derived from"):
        register(SetKind)
    with pytest.raises(ConfigError, match="accuracy, shape_bias, texture, corruptions;"):
        parse_sets("t=:texture")
