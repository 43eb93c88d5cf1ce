"""Exit codes of what is found wrong only when the work begins (fastneg.recipes.cli): 2 where the
command line was wrong, 1 where the system cannot run it."""

import subprocess
import sys

import pytest

from fastneg.recipes.cli import main

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
    "an unknown ending": ("embed --run y --data x", "y.txt", ".npz or .parquet"),
}


@pytest.mark.parametrize("case", LATER)
def test_a_command_line_that_is_found_wrong_later_exits_2_too(case, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FOLDER" / "cat").mkdir(parents=True)
    (tmp_path / "FILE").touch()
    line, word, said = LATER[case]
    assert main([*line.split(), word]) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1


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
