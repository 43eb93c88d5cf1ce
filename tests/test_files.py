"""An output is none of the inputs, and whole or absent: fastneg.files, fastneg.data.encode.outputs,
fastneg.runs.outputs, and every command that writes.
"""

import errno
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tarfile
import time

import numpy as np
import pytest
import torch

from fastneg.data import BetonReader, BetonWriter
from fastneg.files import OutputError, append_json, json_rows, output_file, write_atomically
from fastneg.models.backbones import build_backbone
from fastneg.recipes.bench.registry import Bench
from fastneg.recipes.cli import main
from helpers.images import jpeg, photo


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of class folders, archives, lists, .beton files and a run."""
    tmp_path = tmp_path_factory.mktemp("made")
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "src" / name).mkdir(parents=True)
        for i in range(2):
            (tmp_path / "src" / name / f"{i}.jpg").write_bytes(jpeg(photo(rng, 32, 40)))
    for i in range(3):
        with tarfile.open(tmp_path / f"d{i}.tar", "w") as archive:
            archive.add(tmp_path / "src" / "cat" / f"{i % 2}.jpg", f"cat/{i}.jpg")
    lines = [f"src/{name}/{i}.jpg,{name}" for name in ("cat", "dog") for i in range(2)]
    (tmp_path / "list.csv").write_text("path,label\n" + "\n".join(lines))
    (tmp_path / "subset.txt").write_text("cat\ndog\n")
    (tmp_path / "names.txt").write_text("cat a cat\ndog a dog\n")
    for stem in ("a", "b"):
        with BetonWriter(tmp_path / f"{stem}.beton", classes=["cat", "dog"]) as writer:
            for i in range(4):
                writer.add(jpeg(photo(rng, 32, 40)), 32, 40, label=i % 2, name=f"{i}.jpg")
    torch.manual_seed(0)
    torch.save(build_backbone("resnet_tiny", 32)[0].state_dict(), tmp_path / "weights.pth")
    weights = [str(tmp_path / "weights.pth"), str(tmp_path / "run")]
    assert main(["import", *weights, "--backbone", "resnet_tiny", "--image_size", "32"]) == 0
    return tmp_path


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    """A copy of `made`, the current folder."""
    shutil.copytree(made, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    load = Bench.load  # none is measured here
    rows = [{"bench": "none", "ms": 1.5}]
    monkeypatch.setattr(Bench, "load", lambda bench: (lambda **_: rows, load(bench)[1]))
    settings = json.loads((tmp_path / "place" / "run" / "config.json").read_text())
    settings["init"] = "weights.pth"  # where it was imported from is another copy
    (tmp_path / "place" / "run" / "config.json").write_text(json.dumps(settings))
    return tmp_path / "place"


def contents(folder):
    """{path: kind and bytes} of all that lies below a folder."""
    return {
        str(path): os.readlink(path) if path.is_symlink() else path.is_file() and path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


SAME = {
    "plain": lambda path: path,
    "dots": lambda path: f"src/../{path}",
    "absolute": os.path.abspath,
    "symlink": lambda path: linked(path, os.symlink),
    "hard link": lambda path: linked(path, os.link),
    "link to a link": lambda path: linked(linked(path, os.symlink), os.symlink),
}


def linked(path, how):
    name = f"link{len(os.listdir('.'))}{os.path.splitext(path)[1]}"
    how(os.path.abspath(path), name)
    return name


def refused(place, arguments, capsys, *named):
    """Run a command that must be refused: exit code 2, a message, and nothing touched."""
    before = contents(place)
    capsys.readouterr()
    assert main([*map(str, arguments)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"fastneg {arguments[0]}: ") and said.count("\n") == 1
    for name in named:
        assert name in said
    assert contents(place) == before


PRETRAIN = ["pretrain", "--preset", "tiny_cpu", "--data", "a.beton"]
RUN_FILE = {  # commands that write into a run folder, of which a file is an input too
    "linear": ("run/evaluation.jsonl", ["linear", "--run", "run", "--train", "a.beton"]),
    "knn": ("run/linear.pt", ["knn", "--run", "run", "--train", "a.beton"]),
    "finetune": ("run/.lock", ["finetune", "--run", "run", "--train", "a.beton"]),
}
CASES = {  # the file that is an input and OUT, and the command without OUT
    "image of a folder": ("src/cat/1.jpg", ["encode", "src"]),
    "image itself": ("src/cat/1.jpg", ["encode", "src/cat/1.jpg"]),
    "archive": ("d1.tar", ["encode", "d1.tar"]),
    "archive of a glob": ("d2.tar", ["encode", "d*.tar"]),
    "archive of a range": ("d2.tar", ["encode", "d{0..2}.tar"]),
    "archive of a comma list": ("d2.tar", ["encode", "d0.tar,d2.tar"]),
    "list": ("list.csv", ["encode", "list.csv"]),
    "file that a list names": ("src/dog/0.jpg", ["encode", "list.csv"]),
    "subset": ("subset.txt", ["encode", "src", "--subset", "subset.txt"]),
    "class names": ("names.txt", ["encode", "src", "--class_names", "names.txt"]),
    "texture": ("src/dog/1.jpg", ["encode", "d0.tar", "--textures", "src"]),
    "checkpoint": ("run/checkpoints/step-000000000.pt", ["export", "--run", "run"]),
    "settings of a run": ("run/config.json", ["export", "--run", "run"]),
    "imported weights": ("weights.pth", ["export", "--run", "run"]),
}


PAIRS = [(case, same) for case in CASES for same in ("dots", "symlink", "hard link")]


@pytest.mark.parametrize(
    ("case", "same"), [*PAIRS, *(("image of a folder", same) for same in SAME)]
)
def test_an_output_file_is_no_input(place, case, same, capsys):
    target, arguments = CASES[case]
    out = SAME[same](target)
    refused(place, [*arguments[:2], out, *arguments[2:]] if arguments[0] == "encode" else
            [*arguments, out], capsys, out)  # fmt: skip


@pytest.mark.parametrize("same", ["symlink", "hard link"])
def test_a_sidecar_and_a_page_and_a_file_of_a_run_are_no_inputs(place, same, capsys):
    os.rename(SAME[same]("subset.txt"), "x.beton.json")
    refused(place, ["encode", "src", "x.beton", "--subset", "subset.txt"], capsys, "subset.txt")
    for name in ("y-holdout.beton", "y-holdout.beton.json"):
        os.rename(SAME[same]("subset.txt"), name)
        arguments = ["encode", "src", "y.beton", "--holdout", "0.5", "--subset", "subset.txt"]
        refused(place, arguments, capsys, "subset.txt", "the held-out file")
        os.remove(name)
    os.rename(SAME[same]("run/config.json"), "page.html")
    refused(place, ["report", "run", "--out", "page.html"], capsys, "run/config.json")
    for name in ("metrics.jsonl", ".lock"):
        (place / "new").mkdir(exist_ok=True)
        os.rename(SAME[same]("a.beton"), f"new/{name}")
        refused(place, [*PRETRAIN, "--out", "new"], capsys, "a.beton", name)
        os.remove(f"new/{name}")
    for target, arguments in RUN_FILE.values():
        (place / target).unlink(missing_ok=True)
        os.rename(SAME[same]("b.beton"), target)
        refused(place, [*arguments, "--val", "b.beton"], capsys, "b.beton", target.split("/")[1])
        os.remove(target)
    os.rename(SAME[same]("names.txt"), "run/evaluation.jsonl")
    arguments = ["evaluate", "--run", "run", "--sets", "val=b.beton", "--categories", "names.txt"]
    refused(place, arguments, capsys, "names.txt", "evaluation.jsonl")
    os.remove("run/evaluation.jsonl")
    os.makedirs("run/predictions")
    os.rename(SAME[same]("b.beton"), "run/predictions/val.npz")
    refused(place, arguments[:-2], capsys, "b.beton", "val.npz")


def test_a_link_in_the_source_leads_to_the_output(place, capsys):
    os.rename("src/cat/1.jpg", "photo.bin")
    os.symlink("../../photo.bin", "src/cat/1.jpg")
    refused(place, ["encode", "src", "photo.bin"], capsys, "src/cat/1.jpg")
    os.rename("src/dog", "elsewhere")
    os.symlink("../elsewhere", "src/dog")
    refused(place, ["encode", "src", "elsewhere/0.jpg"], capsys, "src/dog/0.jpg")
    refused(place, ["textures", "src", "elsewhere"], capsys, "src/dog")


def special(name, kind):
    """Make what is no file under a name."""
    if kind == "FIFO":
        os.mkfifo(name)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(name)
    elif kind == "device":
        os.symlink("/dev/full", name)
    elif kind == "circle":
        os.symlink(name, name)
    else:
        os.mkdir(name)


WRITING = {
    "encode": ["encode", "src", "{}.beton"],
    "sidecar": ["encode", "src", "x.beton", "{}x.beton.json"],
    "export": ["export", "--run", "run", "{}.pth"],
    "report": ["report", "run", "--out", "{}.html"],
    "json": ["bench", "scaling", "--json", "{}.json"],
    "csv": ["bench", "scaling", "--csv", "{}.csv"],
    "plot": ["bench", "info_nce", "--csv", "x.csv", "{}x.svg"],
}


@pytest.mark.parametrize("kind", ["FIFO", "socket", "device", "circle", "folder"])
@pytest.mark.parametrize("command", WRITING)
def test_an_output_is_a_file(place, command, kind, capsys):
    *arguments, last = WRITING[command]
    name = last.format("" if command in ("sidecar", "plot") else "out")
    special(name, kind)
    arguments += [] if command in ("sidecar", "plot") else [name]
    refused(place, arguments, capsys, name)


def test_devices_keep_their_names(place, capsys):
    for device in ("/dev/full", "/dev/null"):
        refused(place, ["encode", "src", device], capsys, device, "a device")
        refused(place, ["export", "--run", "run", device], capsys, device, "a device")
        refused(place, ["bench", "scaling", "--json", device], capsys, device, "a device")
        assert stat.S_ISCHR(os.stat(device).st_mode)


@pytest.mark.parametrize("kind", ["FIFO", "socket", "device", "file"])
def test_an_output_folder_is_a_folder(place, kind, capsys):
    special("out", kind) if kind != "file" else (place / "out").write_text("mine")
    for arguments in (["textures", "src", "out"], ["import", "weights.pth", "out"],
                      [*PRETRAIN, "--out", "out"], ["demo", "--out", "out"]):  # fmt: skip
        refused(place, arguments, capsys, "out")
        if kind == "file":
            refused(place, [*arguments[:-1], "out/below"], capsys, "out/below", "a folder was")
    os.rename("out", "page-files")
    refused(place, ["report", "run", "--out", "page.html", "--files", "on"], capsys, "page-files")
    os.rename("page-files", "run/checkpoint" if kind == "file" else "run/features")
    if kind != "file":
        refused(place, ["knn", "--run", "run", "--train", "a.beton", "--val", "b.beton"], capsys)


def test_a_file_below_a_file(place, capsys):
    refused(place, ["encode", "d0.tar", "d0.tar/x.beton"], capsys, "d0.tar is a file")
    refused(place, ["bench", "scaling", "--csv", "list.csv/x.csv"], capsys, "list.csv is a file")


FOLDERS = {
    "textures onto": ["textures", "src", "src"],
    "textures below": ["textures", "src", "src/textures"],
    "textures below by dots": ["textures", "src", "run/../src/new/deep"],
    "textures above": ["textures", "src/cat", "src"],
    "textures below with a split": ["textures", "src", "src/t", "--split", "cat"],
    "import above": ["import", "weights.pth", "."],
    "pretrain above": [*PRETRAIN, "--out", "."],
    "report onto the run": ["report", "page-files", "--out", "page.html", "--files", "on"],
    "report above the run": ["report", "p-files/deep", "--out", "p.html", "--files", "on"],
    "report among its pictures": ["report", "run", "--out", "run/gallery/x.html"],
    "export among the checkpoints": ["export", "--run", "run", "run/checkpoints/step-9.pt"],
    "export as the classifier": ["export", "--run", "run", "run/linear.pt"],
    "an image of a class": ["encode", "src", "src/cat/new.JPG"],
    "an image of a new class": ["encode", "src", "src/new/new.png"],
    "an archive of the glob": ["encode", "d*.tar", "d9.tar"],
}


@pytest.mark.parametrize("case", FOLDERS)
def test_outputs_do_not_mix_with_inputs(place, case, capsys):
    (place / "p-files").mkdir()
    for name in ("page-files", "p-files/deep"):
        shutil.copytree("run", name)
    refused(place, FOLDERS[case], capsys)


def test_links_lead_textures_back(place, capsys):
    os.symlink("src", "alias")
    refused(place, ["textures", "src", "alias"], capsys, "alias")
    refused(place, ["textures", "alias", "src/deep"], capsys, "src/deep")
    (place / "out").mkdir()
    os.symlink("../src/cat", "out/cat")
    refused(place, ["textures", "src", "out"], capsys, "out/cat")


def test_a_folder_of_other_things_is_not_written_into(place, capsys):
    (place / "mine").mkdir()
    (place / "mine" / "config.json").write_text('{"model_type": "bert"}')
    for arguments in (["import", "weights.pth"], [*PRETRAIN, "--out"], ["demo", "--out"]):
        refused(place, [*arguments, "mine"], capsys, "mine", "config.json")
    refused(place, ["demo", "--out", "src"], capsys, "cat")
    (place / "photos" / "images" / "train" / "n01").mkdir(parents=True)
    refused(place, ["demo", "--out", "photos"], capsys, "images")


def test_two_outputs_are_two_files(place, capsys):
    refused(place, ["bench", "scaling", "--csv", "x", "--json", "./x"], capsys, "--json", "--csv")
    refused(place, ["bench", "loader", "--csv", "x.svg"], capsys, "x.svg", "plot")


def test_what_is_harmless_goes_on(place):
    """A .beton file below SRC, again and again; a page and weights in the run's folder,
    likewise."""
    for _ in range(2):
        assert main(["encode", "src", "src/all.beton", "--workers", "1"]) == 0
        assert main(["encode", "list.csv", "x.beton", "--workers", "1"]) == 0
        assert main(["encode", "d*.tar", "d.beton", "--workers", "1"]) == 0
        assert main(["report", "run", "--out", "run/report.html", "--files", "on"]) == 0
        assert main(["export", "--run", "run", "run/w.safetensors", "--format", "safetensors"]) == 0
    with BetonReader("src/all.beton") as reader:
        assert len(reader) == 4


def test_a_link_stays_and_its_target_is_written(place):
    (place / "store").mkdir()
    os.symlink("store/real.beton", "x.beton")  # not there yet
    for names in (["cat", "dog"], ["cat"]):
        (place / "subset.txt").write_text("\n".join(names))
        arguments = ["encode", "src", "x.beton", "--subset", "subset.txt", "--workers", "1"]
        assert main(arguments) == 0
        assert os.readlink("x.beton") == "store/real.beton" and not os.path.exists("x.beton.json")
        for path in ("x.beton", "store/real.beton"):
            with BetonReader(path) as reader:
                assert reader.classes == names
    (place / "x.beton.json").write_text("{}")
    assert main(arguments) == 2
    os.symlink("store/w.pth", "w.pth")
    assert main(["export", "--run", "run", "w.pth", "--format", "safetensors"]) == 0
    assert os.readlink("w.pth") == "store/w.pth" and os.path.getsize("store/w.pth") > 1000


def test_the_permissions_of_a_file_stay(tmp_path):
    path = tmp_path / "secret"
    path.touch(0o600)
    write_atomically(path, lambda file: file.write(b"x"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and path.read_bytes() == b"x"


def test_a_folder_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "none" / "out.npz"
    with pytest.raises(FileNotFoundError) as told:
        write_atomically(path, lambda file: None)
    assert str(told.value.filename) == str(path.parent)


def test_a_new_output_costs_no_look_at_the_inputs(tmp_path):
    def inputs():
        raise AssertionError("an input was asked for")
        yield

    assert output_file(tmp_path / "new", inputs=inputs()) == tmp_path / "new"
    (tmp_path / "new").touch()
    with pytest.raises(AssertionError):
        output_file(tmp_path / "new", inputs=inputs())


@pytest.mark.parametrize("failing", ["write", "replace"])
def test_an_output_stays_whole_when_its_writer_fails(tmp_path, monkeypatch, failing):
    path = tmp_path / "x"
    path.write_bytes(b"before")

    def fail(*_):
        raise OSError("no")

    if failing == "replace":
        monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no"):
        write_atomically(path, fail if failing == "write" else lambda file: file.write(b"after"))
    assert path.read_bytes() == b"before" and os.listdir(tmp_path) == ["x"]
    with pytest.raises(OutputError, match="a device"):
        write_atomically("/dev/null", fail)


KILLED = """
import sys, time
import fastneg.files as files
real = files.os.replace
def wait(*paths):
    print("ready", flush=True)
    time.sleep(100)
files.os.replace = wait
from fastneg.recipes.cli import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("arguments", "out"),
    [
        (["encode", "src", "out.beton", "--workers", "1"], "out.beton"),
        (["report", "run", "--out", "out.html"], "out.html"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_an_output_stays_whole_when_its_writer_is_killed(place, arguments, out):
    (place / out).write_bytes(b"before")
    command = [sys.executable, "-c", KILLED, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=place) as job:
        while "ready" not in (line := job.stdout.readline()):
            assert line, "it ended"
        job.send_signal(signal.SIGKILL)
    time.sleep(0.05)
    assert (place / out).read_bytes() == b"before"
    assert [name for name in os.listdir() if name.endswith(".tmp")]
    assert main(arguments) == 0
    assert (place / out).read_bytes() != b"before"
    assert not [name for name in os.listdir() if name.endswith(".tmp")]


def test_the_files_of_a_benchmark(place):
    """They come whole, into folders that are made, and in place of older ones."""
    for _ in range(2):
        assert main(["bench", "scaling", "--json", "new/x.json", "--csv", "new/x.csv"]) == 0
    assert json.loads((place / "new" / "x.json").read_text())["ms"] == 1.5
    assert (place / "new" / "x.csv").read_text().startswith("bench,ms,")
    assert sorted(os.listdir("new")) == ["x.csv", "x.json"]


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    def fill(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "x.json"
    with pytest.raises(OSError, match=r"No space left on device: '.*x\.json'") as error:
        write_atomically(path, fill)
    assert error.value.errno == errno.ENOSPC and not [*tmp_path.iterdir()]


@pytest.mark.parametrize("sync", [False, True])
def test_a_line_that_its_writer_was_stopped_in_costs_no_other(tmp_path, sync):
    path = tmp_path / "rows.jsonl"
    append_json(path, {"a": 1}, sync)
    with open(path, "ab") as file:
        file.write(b'{"a": ')
    append_json(path, {"a": 2}, sync)
    append_json(path, {"a": 3}, sync)
    assert list(json_rows(path)) == [{"a": 1}, {"a": 2}, {"a": 3}]
