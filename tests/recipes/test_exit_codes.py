"""Exit codes of what is found wrong only when the work begins (fastneg.recipes.cli): 2 where the
command line was wrong, 1 where the system cannot run it."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import fastneg
from fastneg.data import BetonWriter
from fastneg.recipes.cli import main
from fastneg.recipes.presets import PRESETS
from fastneg.runs import checkpoint
from helpers.encoder_runs import make_run
from helpers.images import jpeg, photo

PACKAGE = Path(fastneg.__file__).parent

LATER = {
    "a folder as data": ("verify", "FOLDER", "fastneg encode FOLDER OUT.beton"),
    "a training on a folder": (
        "pretrain --preset tiny_cpu --device cpu --out y --data",
        "FOLDER",
        "fastneg encode FOLDER OUT.beton",
    ),
    "an output that is a file": ("stencils", "FILE", "OUT is FILE, a file"),
    "a run that is a file": (
        "pretrain --preset tiny_cpu --data x --out",
        "FILE",
        "--out is FILE, a file",
    ),
    "a study in a file": ("study --dose 3 --out", "FILE", "--out is FILE, a file"),
    "an unknown set": ("stencils y --sets", "[train,swaped]", "did you mean swapped?"),
    "an unknown arm": ("study --dose 3 --out y --arms", "patc", "did you mean patch?"),
    "an unknown metric": ("evaluate --run y --sets", "a=b:acuracy", "did you mean accuracy?"),
    "no set": ("evaluate --run y --sets", "a", "NAME=PATH"),
    "an unknown subset": ("encode FOLDER y.beton --subset", "imagenet10", "mean imagenet100?"),
    "a file as a source": ("encode y.beton --src", "FILE", "SRC is FILE, one file: a folder of"),
    "a batch that does not divide": (
        "pretrain --preset tiny_cpu --device cpu --data x --out y --batch_size",
        "6",
        "--bn_splits is 4: it must divide the batch, 6.",
    ),
    "no split": ("encode SPLITS --out", "y.beton", "give --split to take one of them"),
    "an unknown split": ("encode SPLITS y.beton --split", "vall", "SPLITS holds train, val."),
    "a split that a list lacks": ("encode LIST.csv y.beton --split", "val", "no column split"),
    "a column that a list lacks": (
        "encode LIST.csv y.beton --label_column",
        "kind",
        "LIST.csv has the columns path, label",
    ),
    "a packed archive": ("encode x.tar,y.tar.gz --out", "y.beton", "is no plain .tar"),
    "a list of classes that is not there": (
        "encode FOLDER y.beton --subset",
        "x.txt",
        "--subset is 'x.txt': imagenet100, or a text file of class names",
    ),
    "a network that cannot be imported": (
        "pretrain --preset tiny_cpu --device cpu --batch_size 8 --bn_splits 2 --out y --data "
        "x.beton --backbone",
        "nowhere:Net",
        "--backbone nowhere:Net cannot be imported",
    ),
    "a network for weights that cannot be imported": (
        "import x.pth y --backbone",
        "nowhere:Net",
        "--backbone nowhere:Net cannot be imported",
    ),
    "a run folder that is taken": ("import x.pth", "UNKNOWN", "already holds checkpoints"),
    "an empty part of a list": ("verify", "x.beton,", "a part of it is empty"),
    "a file twice": ("verify", "x.beton,./x.beton", "twice"),
    "a range of too many files": ("verify", "x-{0..9999999}.beton", "at most 1,000,000"),
    "a dry run twice": ("verify x.beton --dry_run", "--dry-run", "--dry-run is given twice"),
    "no metric behind a path": ("evaluate --run y --sets", "a=FOLDER:topone", "one of accuracy"),
    "views that are not there": (
        "pretrain --preset tiny_cpu --data x --out y --views",
        "own.json",
        "--views own.json cannot be read: No such file or directory.",
    ),
    "an unknown ending": ("embed --run y --data x", "y.txt", ".npz or .parquet"),
}


UNFIT = {
    "a file that is not there": ("verify x1.beton", "x1.beton cannot be read"),
    "a source that is not there": ("encode x1 y.beton", "There is no folder x1"),
    "a run that is not there": ("export y.pth --run x1", "x1 holds no checkpoint"),
    "a set that is not there": ("knn --run RUN --train x1.beton --val x1.beton", "x1.beton"),
    "a list of nothing": ("encode EMPTY.csv y.beton", "lists no images"),
    "a run of settings that are unknown": ("export y.pth --run UNKNOWN", "settings hold colour"),
    "a run whose network is gone": (
        "knn --run GONE --train x.beton --val x.beton",
        "--backbone nowhere:Net cannot be imported",
    ),
    "data without labels": ("knn --run RUN --train bare.beton --val x.beton", "has no labels"),
    "no such device": ("knn --device cuda --run RUN --train x.beton --val x.beton", "sees no CUDA"),
}


@pytest.fixture(scope="module")
def encoder_run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def place(tmp_path, monkeypatch, beton, encoder_run):
    """A folder with what the cases name."""
    monkeypatch.chdir(tmp_path)
    for folder in ("FOLDER/cat", "SPLITS/train/cat", "SPLITS/val/cat"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "FILE").touch()
    (tmp_path / "EMPTY.csv").touch()
    (tmp_path / "LIST.csv").write_text("path,label\na.jpg,cat\nb.jpg,dog\n")
    (tmp_path / "x.beton").symlink_to(beton)
    (tmp_path / "x.beton.json").symlink_to(f"{beton}.json")
    with BetonWriter("bare.beton", int_fields=()) as writer:
        writer.add(jpeg(photo(np.random.default_rng(0), 32, 32)), 32, 32)
    torch.save({"layer.weight": torch.zeros(2, 2)}, "x.pth")
    (tmp_path / "RUN").symlink_to(encoder_run)
    for run, settings in {"UNKNOWN": {"colour": 1}, "GONE": {"backbone": "nowhere:Net"}}.items():
        config = {**PRESETS["tiny_cpu"]().as_dict(), **settings}
        checkpoint.save(run, 1, {"config": config, "method": {}}, keep=1)


@pytest.mark.parametrize("case", LATER)
def test_a_command_line_that_is_found_wrong_later_exits_2_too(case, place, capsys):
    line, word, said = LATER[case]
    assert main([*line.split(), word]) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1


@pytest.mark.parametrize("case", UNFIT)
def test_what_data_a_run_or_the_machine_lacks_exits_1(case, place, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    line, said = UNFIT[case]
    assert main(line.split()) == 1
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1


def test_what_is_told_of_a_flag_is_a_mistake_of_the_command_line():
    """A message that begins with a flag, "--split is …", blames it: exit code 2, whose class is
    `ConfigError`. Of `UnfitError` there are those that the machine cannot do."""
    plain, found = {"BetonError", "CheckpointError", "TrainingError", "WeightsError"}, []
    for folder in (PACKAGE, PACKAGE.parent / "recipes"):
        for path in folder.rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            found += [(name, path) for name in re.findall(r'raise (\w+)\(\s*f?"--\w+ is ', text)]
    assert len(found) > 40 and not [(name, path) for name, path in found if name in plain]


def test_an_error_of_the_system_names_the_path_first(monkeypatch, capsys):
    from fastneg.recipes import verify

    def run(config):
        raise PermissionError(13, "Permission denied", "a/b")

    monkeypatch.setattr(verify, "run_verify", run)
    assert main(["verify", "x.beton"]) == 1
    assert capsys.readouterr().err == "fastneg verify: a/b: Permission denied.\n"


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_another_system_than_linux_is_told_at_once(system, monkeypatch, capsys):
    monkeypatch.setattr(sys, "platform", system)
    assert main(["encode", "a", "b"]) == 1
    said = capsys.readouterr().err
    assert "Linux" in said and system in said and "WSL" in said and said.count("\n") == 1
    assert main(["--version"]) == 0


WINDOWS = """
import os, sys
sys.platform, sys.modules["fcntl"], sys.modules["resource"] = "win32", None, None
del os.sched_getaffinity
from fastneg.recipes.cli import main
sys.exit(main(["demo"]))
"""


def test_nothing_of_linux_is_imported_before_that():
    done = subprocess.run(
        [sys.executable, "-c", WINDOWS], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1 and done.stderr.startswith("fastneg: commands run on Linux")
