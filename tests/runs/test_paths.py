"""The names of what lies in a run folder are in fastneg.runs.paths, and nowhere else; small files
are written by fastneg.runs.settings, quarantine and classifier."""

import ast
import json
from pathlib import Path

import pytest
import torch

from fastneg.config import ConfigError
from fastneg.errors import CheckpointError
from fastneg.runs import paths
from fastneg.runs.classifier import classifier_path, read_classifier, write_classifier
from fastneg.runs.quarantine import write_quarantine
from fastneg.runs.settings import write_settings
from helpers.modules import MODULES

OWN = {*paths.FILES} | {paths.CHECKPOINTS, paths.NONFINITE, paths.PREDICTIONS, "linear.pt"}
"""Names that mean nothing but a part of a run folder. "features", "gallery" and others are plain
words too."""


@pytest.mark.parametrize("module", MODULES)
def test_only_one_module_knows_the_names(module):
    if module == "fastneg.runs.paths":
        return
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    texts = {
        node.value: node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert not OWN & texts.keys(), {name: texts[name] for name in OWN & texts.keys()}


def test_paths_of_single_files():
    assert paths.checkpoint_path("run", 12) == Path("run/checkpoints/step-000000012.pt")
    assert paths.dump_path("run", 12, 3) == Path("run/nonfinite/step-000000012-rank3.pt")
    assert paths.predictions_path("run", "a/b") == Path("run/predictions/a-b.npz")
    assert paths.features_path("run", "ab") == Path("run/features/ab.pt")
    assert paths.set_path("run", "photos-12") == Path("run/sets/photos-12.beton")


def test_a_run_is_known_by_its_checkpoints(tmp_path):
    assert not paths.is_run(tmp_path) and not paths.is_run(tmp_path / "missing")
    paths.checkpoint_path(tmp_path, 1).parent.mkdir()
    assert paths.is_run(tmp_path)


def test_settings_and_quarantine(tmp_path):
    write_settings(tmp_path / "run", {"lr": 0.1}, {"cores": 2})
    assert json.loads((tmp_path / "run" / paths.CONFIG).read_text()) == {"lr": 0.1}
    assert json.loads((tmp_path / "run" / paths.ENVIRONMENT).read_text()) == {"cores": 2}
    bad = [{"index": 3, "name": "ä.jpg", "reason": "cut short"}]
    write_quarantine(tmp_path / "run", bad)
    assert json.loads((tmp_path / "run" / paths.QUARANTINE).read_text(encoding="utf-8")) == bad
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        paths.CONFIG,
        paths.ENVIRONMENT,
        paths.QUARANTINE,
    }


def test_the_classifier(tmp_path):
    with pytest.raises(ConfigError, match="run fastneg linear"):
        read_classifier(tmp_path)
    content = {"format": 1, "digest": "ab", "checkpoint": "step-000000001.pt", "classes": None}
    write_classifier(tmp_path, content)
    with pytest.raises(CheckpointError, match="holds no weight and no bias"):
        read_classifier(tmp_path)
    whole = {**content, "weight": torch.ones(2, 3), "bias": torch.zeros(2)}
    write_classifier(tmp_path, whole)
    read = read_classifier(tmp_path)
    assert read.keys() == whole.keys() and torch.equal(read["weight"], whole["weight"])
    classifier_path(tmp_path).write_bytes(b"cut")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_classifier(tmp_path)
