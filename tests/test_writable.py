"""A place where nothing can be written is told before the work, by every command, and leaves no
trace (fastneg.writable)."""

import os
import shutil
from types import SimpleNamespace

import pytest

from fastneg import writable
from fastneg.options import UnfitError
from fastneg.recipes.cli import main
from fastneg.writable import refuse_unwritable
from helpers.encoder_runs import make_run
from helpers.images import jpeg, photo
from helpers.tinted import make_beton


def lock(monkeypatch, folder):
    """Let the system say that nothing below a folder can be written: tests may run as root, whom no
    permissions stop."""
    asked = os.access

    def access(path, mode, **more):
        below = os.path.commonpath([folder, os.path.abspath(path)]) == str(folder)
        return not (below and mode & os.W_OK) and asked(path, mode, **more)

    monkeypatch.setattr(writable.os, "access", access)


def test_a_folder_a_file_and_what_is_not_there_yet(tmp_path, monkeypatch):
    locked, free = tmp_path / "locked", tmp_path / "free"
    for folder in (locked, free):
        folder.mkdir()
        (folder / "there.txt").touch()
    lock(monkeypatch, locked)
    for name in ("", "there.txt", "new.txt", "new/folder/x.txt"):
        refuse_unwritable(free / name, "OUT")
        with pytest.raises(UnfitError, match=r"^OUT is .*locked.*, which cannot be written: .*not"):
            refuse_unwritable(locked / name, "OUT")
    monkeypatch.chdir(free)
    refuse_unwritable("new", "OUT")
    lock(monkeypatch, free / "there.txt")
    with pytest.raises(UnfitError, match=r"there\.txt, which cannot be written"):
        refuse_unwritable("there.txt", "OUT")


def test_a_file_system_for_reading_alone_is_told_as_such(tmp_path, monkeypatch):
    lock(monkeypatch, tmp_path)
    monkeypatch.setattr(writable.os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
    with pytest.raises(UnfitError, match=r", which cannot be written: .* lies on a file system"):
        refuse_unwritable(tmp_path / "x", "OUT")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    make_run(folder / "run")
    make_beton(folder / "a.beton")
    (folder / "src" / "cat").mkdir(parents=True)
    import numpy as np

    (folder / "src/cat/0.jpg").write_bytes(jpeg(photo(np.random.default_rng(0), 40, 40)))
    (folder / "w.pth").touch()
    return folder


SETS = "--train a.beton --val a.beton"
PRETRAIN = "pretrain --preset tiny_cpu --device cpu --data a.beton"
COMMANDS = {
    "encode": "encode src locked/x.beton",
    "textures": "textures src locked/x",
    "stencils": "stencils locked/x",
    "pretrain": f"{PRETRAIN} --out locked/x",
    "pretrain again": f"{PRETRAIN} --out locked/run",
    "import": "import w.pth locked/x",
    "export": "export locked/x.pth --run run",
    "export a folder": "export locked/x --run run --format huggingface",
    "embed": "embed locked/x.npz --run run --data a.beton",
    "embed a picture": "embed x.npz --run locked/run --data a.beton --picture pca",
    "linear": f"linear --run locked/run {SETS}",
    "finetune": f"finetune --run locked/run {SETS}",
    "knn": f"knn --run locked/run {SETS}",
    "evaluate": "evaluate --run locked/run --sets val=a.beton",
    "show": "show a.beton locked/x.png",
    "report": "report run --out locked/x.html",
    "bench": "bench scaling --csv locked/x.csv",
    "first hour": "bench first_hour --out locked/x",
    "study": "study --size tiny --out locked/x",
    "demo": "demo --size tiny --out locked/x",
}


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path / "place")
    shutil.copytree(made / "run", tmp_path / "place" / "locked" / "run")
    monkeypatch.chdir(tmp_path / "place")
    lock(monkeypatch, tmp_path / "place" / "locked")
    return tmp_path / "place"


@pytest.mark.parametrize("dry", [(), ("--dry_run",)], ids=["run", "dry run"])
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_tells_it_before_the_work(command, dry, place, capsys):
    before = sorted(place.rglob("*"))
    assert main([*COMMANDS[command].split(), *dry]) == 1
    said = capsys.readouterr().err
    assert "which cannot be written" in said and "locked" in said and said.count("\n") == 1
    assert sorted(place.rglob("*")) == before


def test_a_run_that_can_be_read_alone_gives_what_is_read_of_it(place):
    for words in (
        "export x.safetensors --format safetensors --run locked/run",
        "embed x.npz --run locked/run --data a.beton --threads 1",
    ):
        assert main(words.split()) == 0
