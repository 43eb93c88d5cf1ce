"""What cannot be read or is no file, by whom it is told, and what is tried before the first image.

fastneg.data.encode.folders and fastneg.data.encode.preflight are tested here.
"""

import os
import socket
import subprocess
import sys

import pytest

from fastneg.config import ConfigError, TexturesConfig
from fastneg.data import BetonError, BetonReader
from fastneg.data.beton import publish
from fastneg.data.encode import preflight
from fastneg.data.encode.folders import Tree, list_folder, read_file, walk, why_no_file
from fastneg.data.encode.textures import write_textures
from fastneg.data.file_names import split_names
from fastneg.evaluation.sets.encoded import encoded
from fastneg.recipes.cli import main
from helpers.odd_trees import labels, tree

DENIED = PermissionError(13, "Permission denied")


def unreadable(monkeypatch, *folders, error=DENIED):
    """Folders that cannot be listed, for any user."""
    listed = os.scandir

    def scandir(path="."):
        if os.path.basename(os.fspath(path)) in folders:
            raise error
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)


@pytest.mark.parametrize("error", [DENIED, OSError(5, "Input/output error")])
@pytest.mark.parametrize("where", ["bee", "bee/in/deep"])
def test_a_folder_that_cannot_be_read_stops_or_is_counted(
    tmp_path, monkeypatch, capsys, where, error
):
    src = tree(tmp_path / "src", "ant/0.jpg", f"{where}/1.jpg", "cat/2.jpg")
    unreadable(monkeypatch, where.split("/")[-1], error=error)
    assert main(["encode", str(src), str(tmp_path / "x.beton"), "--workers", "1"]) == 1
    assert f"{src}/{where} cannot be read: {error.strerror}." in capsys.readouterr().err
    assert not (tmp_path / "x.beton").exists()
    assert (
        main(
            ["encode", str(src), str(tmp_path / "x.beton"), "--workers", "1", "--on_error", "skip"]
        )
        == 1
    )
    said = capsys.readouterr().out
    assert "skipped: 1;" in said and f"skipped {where}: {error.strerror}" in said
    with BetonReader(
        tmp_path / "x.beton"
    ) as reader:  # the class keeps its place, so that no label moves
        assert reader.classes == ["ant", "bee", "cat"]
        found = dict(zip(reader.names, reader.labels.tolist(), strict=True))
        assert found == {"ant/0.jpg": 0, "cat/2.jpg": 2}


@pytest.mark.parametrize("link", ["bee", "cat/in", "cat/1.jpg"])
@pytest.mark.parametrize("target", ["nowhere", "itself"])
def test_a_link_that_leads_nowhere_is_named(tmp_path, link, target):
    src = tree(tmp_path / "src", "ant/0.jpg", "cat/2.jpg")
    (src / link).symlink_to(src / link if target == "itself" else tmp_path / "nowhere")
    said = "in a circle" if target == "itself" else "a link to .*nowhere, which does not exist"
    with pytest.raises(BetonError, match=rf"src/{link} cannot be read: .*{said}.*--on_error skip"):
        labels(src, tmp_path / "x.beton")
    found, _, summary = labels(src, tmp_path / "x.beton", on_error="skip")
    assert (
        found.keys() == {"ant/0.jpg", "cat/2.jpg"}
        and len(summary["skipped"]) == 1
        and summary["skipped"][0].startswith(link)
    )
    done = write_textures(
        TexturesConfig(
            str(src), str(tmp_path / "textures"), size=16, patch=8, block=4, candidates=4, workers=1
        )
    )
    assert done["made"] == 2 and len(done["skipped"]) == 1


def test_permissions_of_another_user(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    src = tree(tmp_path / "src", "ant/0.jpg", "bee/1.jpg", "cat/2.jpg")
    (src / "bee").chmod(0)
    (src / "cat" / "2.jpg").chmod(0)
    for folder in (tmp_path, *list(tmp_path.parents)[:-2]):
        folder.chmod(folder.stat().st_mode | 0o005)
    code = (
        "import os, sys; from fastneg.config import EncodeConfig; from "
        "fastneg.data.encode.sources import find_sources\nos.setgroups([]); os.setgid(65534); "
        "os.setuid(65534)\nfound = find_sources(EncodeConfig(sys.argv[1], 'x', on_error='skip')); "
        "print(found.classes, found.skipped)\ntry: found.read('cat/2.jpg')\nexcept OSError as "
        "error: print(error.strerror)\nfind_sources(EncodeConfig(sys.argv[1], 'x'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(src)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout == "['ant', 'bee', 'cat'] ['bee: Permission denied']\nPermission denied\n"
    assert f"{src}/bee cannot be read: Permission denied" in done.stderr


def test_evaluation_names_what_cannot_be_read(tmp_path, monkeypatch):
    src = tree(tmp_path / "set", "a/0.jpg", "b/in/1.jpg")
    (src / "b" / "gone").symlink_to(tmp_path / "nowhere")
    with pytest.raises(BetonError, match="b/gone cannot be read"):
        encoded(src, tmp_path / "run", 1)
    (src / "b" / "gone").unlink()
    unreadable(monkeypatch, "in")
    with pytest.raises(BetonError, match="b/in cannot be read: Permission denied"):
        encoded(src, tmp_path / "run", 1)


def test_a_glob_names_the_folder_that_it_cannot_read(tmp_path, monkeypatch):
    tree(tmp_path, "a/0.tar", "a/.1.tar", "b/2.tar", "c/notes.txt")
    assert split_names(f"{tmp_path}/?/*.tar")[0][1] == [
        f"{tmp_path}/a/0.tar",
        f"{tmp_path}/b/2.tar",
    ]
    listed = os.listdir

    def listdir(path="."):
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(os, "listdir", listdir)
    with pytest.raises(PermissionError, match="/b'"):
        split_names(f"{tmp_path}/?/*.tar")


def test_a_texture_that_is_missing_is_told_before_the_first_image(tmp_path, monkeypatch):
    src = tree(tmp_path / "src", *(f"a/{i}.jpg" for i in range(40)))
    tree(tmp_path / "textures", *(f"a/{i}.JPEG" for i in range(40) if i != 7))
    monkeypatch.setattr("fastneg.data.encode.encode.pass_through", None)
    with pytest.raises(
        BetonError, match=r"a/7\.jpg cannot be used: its texture: there is no .*textures/a/7\.jpg"
    ):
        labels(src, tmp_path / "x.beton", textures=str(tmp_path / "textures"))


# --- FIFOs, sockets, devices


def test_fifos_sockets_and_devices_are_named_and_never_opened(tmp_path, capsys):
    src = tree(tmp_path / "src", "a/0.jpg", "b/1.jpg")
    os.mkfifo(src / "a" / "pipe.jpg")
    (src / "b" / "null.png").symlink_to("/dev/null")
    folder = os.open(src / "b", os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(f"/proc/self/fd/{folder}/s.jpg")  # the path of a socket has 108 bytes at most
        assert main(["encode", str(src), str(tmp_path / "x.beton"), "--workers", "1"]) == 0
        said = capsys.readouterr().out
    os.close(folder)
    for name in ("a/pipe.jpg is a FIFO", "b/null.png is a device", "b/s.jpg is a socket"):
        assert f"{name}, no image: it is left out." in said
    assert (
        "images left out: 3 that are FIFOs, sockets or devices;" in said
        and "2 images in 2 classes" in said
    )
    for path, kind in (
        (src / "a" / "pipe.jpg", "a FIFO"),
        (src / "b" / "null.png", "a device"),
        (src, "a folder"),
    ):
        assert why_no_file(path) == f"it is {kind}, no file"
        with pytest.raises(BetonError, match=kind):
            read_file(path)
    assert why_no_file(src / "a" / "0.jpg") is None and "No such file" in why_no_file(
        src / "none.jpg"
    )


def test_a_texture_that_is_a_fifo_is_not_opened(tmp_path):
    src = tree(tmp_path / "src", "a/0.jpg", "a/1.jpg")
    tree(tmp_path / "textures", "a/1.jpg")
    os.mkfifo(tmp_path / "textures" / "a" / "0.jpg")
    _, _, summary = labels(
        src, tmp_path / "x.beton", textures=str(tmp_path / "textures"), on_error="skip"
    )
    assert summary["skipped"] == ["a/0.jpg: its texture: it is a FIFO, no file"]


# --- before the first image, and after the last


@pytest.mark.parametrize("obstacle", ["sidecar", "file", "long name", "no room"])
def test_what_fails_at_the_end_is_found_before_the_first_image(tmp_path, monkeypatch, obstacle):
    src, out = tree(tmp_path / "src", "a/0.jpg"), tmp_path / "x.beton"
    if obstacle == "sidecar":
        (tmp_path / "x.beton.json").mkdir()
    elif obstacle == "file":
        (tmp_path / "busy").write_text("a file")
        out = tmp_path / "busy" / "x.beton"
    elif obstacle == "long name":
        out = (
            tmp_path / f"{'x' * 232}.beton"
        )  # it can be written, its notes under a temporary name cannot
    else:
        monkeypatch.setattr(
            preflight.shutil,
            "disk_usage",
            lambda path: preflight.shutil._ntuple_diskusage(10**9, 10**9 - 100, 100),
        )
    monkeypatch.setattr("fastneg.data.encode.encode.pass_through", None)
    said = {
        "sidecar": "x.beton.json, a folder: the name of a file",
        "file": "busy is a file: a folder was expected",
        "no room": "would take about",
    }.get(obstacle, "cannot be written: ")
    with pytest.raises((BetonError, ConfigError), match=said):
        labels(src, out)


def test_finished_work_is_kept_where_the_notes_cannot_be_written(tmp_path, monkeypatch):
    src, replace = tree(tmp_path / "src", "a/0.jpg", "b/1.jpg"), os.replace

    def full(source, target):
        if str(target).endswith(("x.beton", "x.beton.json")):
            raise OSError(28, "No space left on device")
        replace(source, target)

    (tmp_path / "x.beton").write_bytes(b"an older one")
    monkeypatch.setattr(publish.os, "replace", full)
    with pytest.raises(
        BetonError,
        match=r"is finished, but .*No space left on device.* kept in .*x\.kept\.\w+\.beton",
    ):
        labels(src, tmp_path / "x.beton")
    (kept,) = tmp_path.glob("x.kept.*.beton")
    with BetonReader(kept, verify=True) as reader:
        assert sorted(reader.labels) == [0, 1]
    assert (tmp_path / "x.beton").read_bytes() == b"an older one" and len(
        list(tmp_path.iterdir())
    ) == 3


def test_a_walk_tells_all_that_it_meets(tmp_path):
    src = tree(tmp_path / "src", "b/1.txt", "a/in/0.jpg", ".git/x", "top.jpg")
    (src / "a" / "lost").symlink_to("nowhere")
    met = Tree()
    assert list(walk(src, met)) == [
        ("", ["top.jpg"]),
        ("a", []),
        ("a/in", ["0.jpg"]),
        ("b", ["1.txt"]),
    ]
    assert met.passed_over == [".git"] and met.failed == {
        "a/lost": "it is a link to nowhere, which does not exist"
    }
    assert list_folder(src).folders == ["a", "b"] and list_folder(src).files == ["top.jpg"]
