"""The names of what lies in a run folder are in fastneg.runs.paths, and nowhere else."""

import ast
from pathlib import Path

import pytest

from fastneg.runs import paths
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
    others = {"config.json"} if module == "fastneg.models.export" else set()  # of Hugging Face
    found = OWN & texts.keys() - others
    assert not found, {name: texts[name] for name in found}


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
