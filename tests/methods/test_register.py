"""A method of a user's own, registered by files of theirs, is as good as a built-in one."""

import ast
import importlib.metadata
import json
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from fastneg import plugins
from fastneg.config import ConfigError, PretrainConfig, field_docs
from fastneg.config.assemble import assembled_docs
from fastneg.config.method import MethodPart
from fastneg.methods.contract import METHODS, Method, register
from fastneg.negatives import NEGATIVES
from fastneg.options import option
from fastneg.recipes.cli import build_config, main
from fastneg.recipes.presets import tiny_cpu
from fastneg.registry import Registry, imported
from fastneg.runs import checkpoint
from fastneg.training.trainer import pretrain
from helpers.plugins import name_plugin

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = '''
"""Pairs whose similarities differ by a margin."""

from fastneg.methods import Method, register
from fastneg.options import ConfigError, option


@register
class Margin(Method):
    name = "margin"
    about = "a margin between pairs"
    network = "margin_network:Margin"

    feature_dim: int = 8
    bn: str = "none"
    my_margin: float = option(0.5, above=0.0, at_most=2.0)
    """What the similarity of a pair must be above that of two others."""

    def check(self, config):
        if config.my_margin > 1 and config.negative_kinds():
            raise ConfigError("--my_margin is above 1: no negatives then.")
'''
NETWORK = """
import torch
from torch import nn

from fastneg.methods.output import MethodOutput
from fastneg.models.encoders import Encoder


class Margin(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.margin = config.my_margin
        self.query_encoder = Encoder(config.backbone, config.feature_dim, config.image_size)

    def forward(self, query_view, key_view, negatives=None, generator=None):
        first, second = self.query_encoder(torch.cat([query_view, key_view])).chunk(2)
        positive, other = (first * second).sum(1), (first * second.roll(1, 0)).sum(1)
        loss = (other - positive + self.margin).relu().mean()
        return MethodOutput(loss, None, {"loss": loss.detach()}, {})  # no similarities

    def after_step(self, keys, progress):
        pass
"""


@pytest.fixture
def margin(tmp_path, monkeypatch):
    """FASTNEG_PLUGINS names the user's file; what it brings is gone after the test."""
    files = {"margin_method": CONTRACT, "margin_network": NETWORK}
    name_plugin(monkeypatch, tmp_path, files)
    yield
    METHODS.unregister("margin")
    for name in files:
        sys.modules.pop(name, None)


def given(beton, out, **changes):
    small = {"epochs": 1, "batch_size": 8, "threads": 1, "log_every": 1, "feature_dim": 8}
    return tiny_cpu().replace(
        data=str(beton), out=str(out), method="margin", temperature=None, **{**small, **changes}
    )


def test_its_options_are_fields_with_default_bounds_and_check(margin):
    plain, before = PretrainConfig(), PretrainConfig
    config = PretrainConfig(method="margin")  # which no one had imported: the plugins are looked up
    assert (config.my_margin, config.feature_dim, config.temperature) == (0.5, 8, None)
    assert PretrainConfig is before and plain.my_margin is None
    assert plain.replace(epochs=3).my_margin is None
    assert PretrainConfig(method="margin", my_margin=1).my_margin == 1.0
    assert config.replace(method="moco") == PretrainConfig()
    assert plain.replace(method="margin", my_margin=0.7).my_margin == 0.7
    (field,) = [field for field in fields(PretrainConfig) if field.name == "my_margin"]
    assert field.metadata["by"] == ("method", {"margin": 0.5})
    assert assembled_docs(MethodPart)["my_margin"].startswith("What the similarity of a pair")
    assert field_docs(PretrainConfig)["my_margin"] == assembled_docs(MethodPart)["my_margin"]
    for changes, said in (
        ({"my_margin": 0}, "--my_margin is 0.0: it must be more than 0"),
        ({"my_margin": 1.5}, "--my_margin is above 1: no negatives then"),
        ({"my_margin": "x"}, "a number or None was expected"),
        ({"queue_size": 4}, r"no effect with --method margin \(only with moco\)"),
        ({"method": "moco", "my_margin": 0.5}, r"no effect with --method moco \(only with margin"),
        ({"bn": "split"}, r"has no effect with --method margin: .*\(moco only\)"),
        ({"accumulate": 2}, "no effect with --method margin"),
        ({"key_pass": "batched"}, "no effect with --method margin"),
        ({"cuda_graphs": True}, "--method margin has no key encoder"),
        ({"method": "other"}, "one of moco, byol, simclr, moco_v3, supcon, margin"),
    ):
        with pytest.raises(ConfigError, match=said):
            PretrainConfig(**{"method": "margin", **changes})


def test_the_command_line_knows_it(margin, capsys):
    assert main(["pretrain", "--help"]) == 0
    text = capsys.readouterr().out
    assert "--method = moco  (choices moco | byol | simclr | moco_v3 | supcon | margin)" in text
    assert "margin: a margin between pairs." in text
    assert "--my_margin  (above 0.0; at most 2.0; = 0.5 with --method margin)" in text
    assert "= 8 with --method margin" in text.split("--feature_dim")[1].splitlines()[0]
    line = ["--preset", "tiny_cpu_simclr", "--data", "x.beton", "--out", "run"]
    config = build_config("pretrain", [*line, "--method", "margin", "--my_margin", "0.9"])
    assert config.my_margin == 0.9


def test_it_trains_and_its_run_loads_again(margin, beton, tmp_path):
    plugins.load_named()
    config = given(beton, tmp_path / "run", my_margin=0.9, augment_with="kernel")
    assert pretrain(config, stop_after=2).step == 2
    _, state = checkpoint.load_newest(tmp_path / "run")
    assert state["step"] == 2 and state["config"]["my_margin"] == 0.9
    kept = json.loads((tmp_path / "run" / "config.json").read_text())
    assert PretrainConfig(**kept) == PretrainConfig.read(state["config"]) == config
    assert pretrain(config).finished
    METHODS.unregister("margin")
    plugins._loaded.clear()
    del sys.modules["margin_method"]
    assert PretrainConfig.read(kept) == config  # its module is imported for the field


def test_a_run_of_a_method_that_is_not_there_says_where_it_may_be(monkeypatch):
    monkeypatch.delenv(plugins.VARIABLE, raising=False)
    with pytest.raises(ConfigError, match=r"hold my_margin, which .* FASTNEG_PLUGINS=my_package"):
        PretrainConfig.read({**PretrainConfig().as_dict(), "my_margin": 0.5})


def test_an_installed_package_brings_it_by_an_entry_point(margin, monkeypatch):
    class Point:
        name, value, load = "margin", "margin_method", staticmethod(plugins.load_named)

    asked = []
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda group: asked.append(group) or [Point]
    )
    PretrainConfig(method="byol")
    assert not asked  # nothing is looked for as long as every name is known
    assert PretrainConfig(method="margin").my_margin == 0.5 and asked == ["fastneg.plugins"]


def test_a_plugin_that_cannot_be_imported_stops_the_program(tmp_path, monkeypatch, capsys):
    (tmp_path / "broken.py").write_text("1 / 0")
    monkeypatch.setattr(plugins, "_loaded", set())
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name, said in (("no_such", "No module named"), (str(tmp_path / "broken.py"), "division")):
        monkeypatch.setenv(plugins.VARIABLE, name)
        assert main(["pretrain", "--preset", "tiny_cpu"]) == 2
        error = capsys.readouterr().err
        assert f"FASTNEG_PLUGINS names {name}, which cannot be imported" in error and said in error


def declared(**members):
    return type("Own", (Method,), {"__module__": __name__, **members})


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        (int, TypeError, "a class that derives from fastneg.methods.contract.Method"),
        (declared(name="moco"), ValueError, "MoCo has this name already"),
        (declared(name="not-a-word"), ValueError, "a word such as my_method was expected"),
        (
            declared(name="own", __annotations__={"temperature": float}, temperature=option(
                0.1, above=0.5
            )),
            ValueError,
            "is float above 0.5, but float above 0.0 in SharedOptions",
        ),
        (
            declared(name="own", __annotations__={"queue_size": float}, queue_size=1.0),
            ValueError,
            "is float, but int at_least 1 in MoCo",
        ),
        *(
            (
                declared(name="own", __annotations__={name: int}, **{name: 1}),
                ValueError,
                f"The option {name} has a name that PretrainConfig has already",
            )
            for name in ("lr", "patch_min", "replace", "bn_splits")
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_registered_leaves_no_trace(wrong, error, said):
    names, before = list(METHODS), [field.name for field in fields(PretrainConfig)]
    with pytest.raises(error, match=said):
        register(wrong)
    assert list(METHODS) == names
    assert [field.name for field in fields(PretrainConfig)] == before
    PretrainConfig()


def test_a_registry_names_what_it_holds_in_order():
    own = Registry("thing", Method)
    for name in ("b", "a"):
        own.register(type(name, (Method,), {"name": name, "network": "fastneg.counts:counted"}))
    assert list(own) == ["b", "a"] and own.options() == {}
    assert imported(own["a"].network)(2, "thing") == "2 things" and imported(len) is len


def test_the_same_class_may_be_registered_again():
    """As a notebook's cell that runs again does."""
    try:
        for default in (1, 2):
            register(declared(name="own", __annotations__={"own": int}, own=default))
            assert PretrainConfig(method="own").own == default
    finally:
        METHODS.unregister("own")
    assert not hasattr(PretrainConfig, "own")


def test_only_its_own_files_compare_a_method_or_a_kind_with_a_name():
    names, found = {*METHODS, *NEGATIVES}, []
    subjects = {"method", "methods", "negatives", "negative_kinds", "kinds"}
    for path in [*ROOT.glob("fastneg/**/*.py"), *ROOT.glob("recipes/**/*.py")]:
        if path.relative_to(ROOT).parts[1] in ("methods", "negatives"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare):
                parts = [part for side in (node.left, *node.comparators) for part in ast.walk(side)]
                words = {getattr(part, "attr", getattr(part, "id", None)) for part in parts}
                texts = {part.value for part in parts if isinstance(part, ast.Constant)}
                if words & subjects and texts & names:
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno} {ast.unparse(node)}")
    assert not found
