"""Odd source trees: the labels of encode against those written by hand, and what is said of what is left out.

fastneg.data.folders, fastneg.data.class_folders and fastneg.data.preflight are tested here.
"""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
from conftest import jpeg, photo

from fastneg.config import ConfigError, EncodeConfig, TexturesConfig
from fastneg.data import BetonError, BetonReader, beton_writer, preflight
from fastneg.data.encode import encode
from fastneg.data.file_names import split_names
from fastneg.data.folders import Tree, list_folder, read_file, walk, why_no_file
from fastneg.data.sources import find_sources
from fastneg.data.textures import write_textures
from fastneg.evaluation.set_files import class_root, encoded
from fastneg.recipes.cli import main

DENIED = PermissionError(13, "Permission denied")
IMAGE = jpeg(photo(np.random.default_rng(0), 24, 32))


def tree(root, *names):
    """Images at the names that end like one, texts at the others, folders at those that end in /."""
    for name in names:
        path = root / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_bytes(IMAGE if name.lower().endswith((".jpg", ".jpeg")) else b"text")
    return root


def labels(src, out, report=None, **options):
    """({name: label}, classes, summary) of what encode writes."""
    summary = encode(EncodeConfig(str(src), str(out), workers=1, **options), report=report)
    with BetonReader(out) as reader:
        found = dict(zip(reader.names, reader.labels.tolist(), strict=True)) if reader.labels is not None else None
        return found, reader.classes, summary


SYSTEMS = [
    f"{name}/x.jpg"
    for name in ("__MACOSX", ".ipynb_checkpoints", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information", ".git", ".Trash-0")
]
ODD_TREES = {
    "hidden folders and those of systems": (
        ["cat/0.jpg", "dog/1.jpg", *SYSTEMS], {},
        {"cat/0.jpg": 0, "dog/1.jpg": 1}, ["cat", "dog"],
    ),
    "the same within a class": (
        ["cat/0.jpg", "cat/__MACOSX/._0.jpg", "cat/@eaDir/0.jpg", "cat/.ipynb_checkpoints/0.jpg", "dog/in/1.jpg"], {},
        {"cat/0.jpg": 0, "dog/in/1.jpg": 1}, ["cat", "dog"],
    ),
    "folders without an image are no classes": (
        ["ant/", "bee/notes.txt", "bee/deeper/", "cat/0.jpg", "dog/1.jpg"], {},
        {"cat/0.jpg": 0, "dog/1.jpg": 1}, ["cat", "dog"],
    ),
    "Tiny-ImageNet's train": (
        ["train/n2/images/0.JPEG", "train/n1/images/1.JPEG", "train/n1/n1_boxes.txt", "val/images/2.JPEG"], {"split": "train"},
        {"train/n2/images/0.JPEG": 1, "train/n1/images/1.JPEG": 0}, ["n1", "n2"],
    ),
    "a split in another case": (
        ["Train/b/0.jpg", "Train/a/1.jpg", "TEST/a/2.jpg", "notes/x.txt"], {"split": "train"},
        {"Train/b/0.jpg": 1, "Train/a/1.jpg": 0}, ["a", "b"],
    ),
    "vehicles, of which one is a train": (
        ["bus/0.jpg", "train/1.jpg", "car/2.jpg"], {"split": "."},
        {"bus/0.jpg": 0, "train/1.jpg": 2, "car/2.jpg": 1}, ["bus", "car", "train"],
    ),
    "the same below a split": (
        ["val/bus/0.jpg", "val/train/1.jpg", "train/bus/2.jpg"], {"split": "val/."},
        {"val/bus/0.jpg": 0, "val/train/1.jpg": 1}, ["bus", "train"],
    ),
    "folders of each class by film": (
        ["run/f1/0.jpg", "run/f2/1.jpg", "jump/f3/2.jpg", "jump/f4/3.jpg", "jump/f5/4.jpg"], {},
        {"run/f1/0.jpg": 1, "run/f2/1.jpg": 1, "jump/f3/2.jpg": 0, "jump/f4/3.jpg": 0, "jump/f5/4.jpg": 0}, ["jump", "run"],
    ),
    "domains, taken as classes by hand": (
        ["photo/dog/0.jpg", "photo/cat/1.jpg", "art/dog/2.jpg", "art/cat/3.jpg"], {"split": "."},
        {"photo/dog/0.jpg": 1, "photo/cat/1.jpg": 1, "art/dog/2.jpg": 0, "art/cat/3.jpg": 0}, ["art", "photo"],
    ),
    "numbers as names sort as texts": (
        ["10/0.jpg", "9/1.jpg", "007/2.jpg"], {},
        {"10/0.jpg": 1, "9/1.jpg": 2, "007/2.jpg": 0}, ["007", "10", "9"],
    ),
    "images beside folders without any": (
        ["0.jpg", "1.jpg", "notes/x.txt", "empty/", ".git/2.jpg"], {}, None, None,
    ),
    "one class": (["only/0.jpg", "only/1.jpg"], {}, {"only/0.jpg": 0, "only/1.jpg": 0}, ["only"]),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD_TREES)
def test_odd_trees_have_the_labels_written_by_hand(tmp_path, name):
    files, options, expected, classes = ODD_TREES[name]
    found, named, _ = labels(tree(tmp_path / "src", *files), tmp_path / "x.beton", **options)
    assert found == expected and named == classes


def test_a_name_that_is_no_utf8(tmp_path, capfd):
    """Of a class, an image, the source, the output and a list of classes, with textures made of them."""
    src = os.fsencode(tmp_path) + b"/\xffsrc"
    for folder in (b"caf\xe9", b"tea"):
        os.makedirs(src + b"/" + folder)
        with open(src + b"/" + folder + b"/\xfe.jpg", "wb") as file:
            file.write(IMAGE)
    (tmp_path / "few.txt").write_text("caf\\udce9\n")
    out = os.fsdecode(os.fsencode(tmp_path) + b"/\xfd.beton")
    assert main(["encode", os.fsdecode(src), out, "--workers", "1", "--textures", "synth"]) == 0
    with BetonReader(out) as reader:
        assert reader.classes == ["caf\\udce9", "tea"] and sorted(reader.names) == ["caf\\udce9/\\udcfe.jpg", "tea/\\udcfe.jpg"]
        assert {name: reader.labels[i] for i, name in enumerate(reader.names)} == {"caf\\udce9/\\udcfe.jpg": 0, "tea/\\udcfe.jpg": 1}
    _, named, _ = labels(os.fsdecode(src), tmp_path / "y.beton", subset=str(tmp_path / "few.txt"))
    assert named == ["caf\\udce9"]
    encoded(preflight.Path(os.fsdecode(src)), tmp_path / "run", 1, lambda text: None)
    assert "Traceback" not in capfd.readouterr().err


# --- what cannot be read ----------------------------------------------------------------------------------------------------------------


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
def test_a_folder_that_cannot_be_read_stops_or_is_counted(tmp_path, monkeypatch, capsys, where, error):
    src = tree(tmp_path / "src", "ant/0.jpg", f"{where}/1.jpg", "cat/2.jpg")
    unreadable(monkeypatch, where.split("/")[-1], error=error)
    assert main(["encode", str(src), str(tmp_path / "x.beton"), "--workers", "1"]) == 1
    assert f"{src}/{where} cannot be read: {error.strerror}." in capsys.readouterr().err
    assert not (tmp_path / "x.beton").exists()
    assert main(["encode", str(src), str(tmp_path / "x.beton"), "--workers", "1", "--on_error", "skip"]) == 1
    said = capsys.readouterr().out
    assert "skipped: 1;" in said and f"skipped {where}: {error.strerror}" in said
    with BetonReader(tmp_path / "x.beton") as reader:  # the class keeps its place, so that no label moves
        assert reader.classes == ["ant", "bee", "cat"] and dict(zip(reader.names, reader.labels.tolist(), strict=True)) == {
            "ant/0.jpg": 0, "cat/2.jpg": 2
        }  # fmt: skip


@pytest.mark.parametrize("link", ["bee", "cat/in", "cat/1.jpg"])
@pytest.mark.parametrize("target", ["nowhere", "itself"])
def test_a_link_that_leads_nowhere_is_named(tmp_path, link, target):
    src = tree(tmp_path / "src", "ant/0.jpg", "cat/2.jpg")
    (src / link).symlink_to(src / link if target == "itself" else tmp_path / "nowhere")
    said = "in a circle" if target == "itself" else "a link to .*nowhere, which does not exist"
    with pytest.raises(BetonError, match=rf"src/{link} cannot be read: .*{said}.*--on_error skip"):
        labels(src, tmp_path / "x.beton")
    found, _, summary = labels(src, tmp_path / "x.beton", on_error="skip")
    assert found.keys() == {"ant/0.jpg", "cat/2.jpg"} and len(summary["skipped"]) == 1 and summary["skipped"][0].startswith(link)
    done = write_textures(TexturesConfig(str(src), str(tmp_path / "textures"), size=16, patch=8, block=4, candidates=4, workers=1))
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
        "import os, sys; from fastneg.config import EncodeConfig; from fastneg.data.sources import find_sources\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "found = find_sources(EncodeConfig(sys.argv[1], 'x', on_error='skip')); print(found.classes, found.skipped)\n"
        "try: found.read('cat/2.jpg')\nexcept OSError as error: print(error.strerror)\n"
        "find_sources(EncodeConfig(sys.argv[1], 'x'))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(src)], capture_output=True, text=True, check=False, timeout=120)
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
    assert split_names(f"{tmp_path}/?/*.tar")[0][1] == [f"{tmp_path}/a/0.tar", f"{tmp_path}/b/2.tar"]
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
    monkeypatch.setattr("fastneg.data.encode._pass_through", None)
    with pytest.raises(BetonError, match=r"a/7\.jpg cannot be used: its texture: there is no .*textures/a/7\.jpg"):
        labels(src, tmp_path / "x.beton", textures=str(tmp_path / "textures"))


# --- FIFOs, sockets, devices ------------------------------------------------------------------------------------------------------------


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
    assert "images left out: 3 that are FIFOs, sockets or devices;" in said and "2 images in 2 classes" in said
    for path, kind in ((src / "a" / "pipe.jpg", "a FIFO"), (src / "b" / "null.png", "a device"), (src, "a folder")):
        assert why_no_file(path) == f"it is {kind}, no file"
        with pytest.raises(BetonError, match=kind):
            read_file(path)
    assert why_no_file(src / "a" / "0.jpg") is None and "No such file" in why_no_file(src / "none.jpg")


def test_a_texture_that_is_a_fifo_is_not_opened(tmp_path):
    src = tree(tmp_path / "src", "a/0.jpg", "a/1.jpg")
    tree(tmp_path / "textures", "a/1.jpg")
    os.mkfifo(tmp_path / "textures" / "a" / "0.jpg")
    _, _, summary = labels(src, tmp_path / "x.beton", textures=str(tmp_path / "textures"), on_error="skip")
    assert summary["skipped"] == ["a/0.jpg: its texture: it is a FIFO, no file"]


# --- the level of the classes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "options", "said"),
    [
        (["val/images/0.JPEG", "val/val_annotations.txt"], {"split": "val"}, r"seem to stand in val_annotations\.txt.*val/images X\.beton"),
        (["images/0.jpg", "images/1.jpg"], {}, r"one class, images, which is no name of a class.*fastneg encode .*/images X"),
        (["ILSVRC2012_img_val/0.JPEG"], {"split": "."}, None),
        (["pics/0.jpg", "labels.csv"], {}, r"encode .*/labels\.csv X"),
        (["set/a/0.jpg", "set/b/1.jpg", "__MACOSX/a/0.jpg"], {}, r"2 folders below it \(a, b\): name .*src/set as SRC, whose folders"),
        (["set/x/y/a/0.jpg", "set/x/y/b/1.jpg"], {}, r"name .*src/set/x/y as SRC"),
        (["set/train/a/0.jpg", "set/val/a/1.jpg"], {}, r"name .*src/set as SRC, with --split train"),
        (["art/dog/0.jpg", "art/cat/1.jpg", "photo/dog/2.jpg", "photo/cat/3.jpg"], {}, "which level holds the classes"),
        (["dog/train/0.jpg", "dog/test/1.jpg", "cat/train/2.jpg", "cat/test/3.jpg"], {}, "which level holds the classes"),
    ],
)
def test_one_level_too_many_is_told_with_the_road_to_take(tmp_path, files, options, said):
    src = tree(tmp_path / "src", *files)
    if said is None:
        assert labels(src, tmp_path / "x.beton", **options)[1] == ["ILSVRC2012_img_val"]
        return
    with pytest.raises(ConfigError, match=said):
        labels(src, tmp_path / "x.beton", **options)
    assert not (tmp_path / "x.beton").exists()


def test_what_is_left_out_is_said_before_the_first_image(tmp_path):
    src, said = tree(tmp_path / "src", "a/0.jpg", "empty/", "notes/x.txt", "@eaDir/0.jpg"), []
    _, _, summary = labels(src, tmp_path / "x.beton", said.append)
    assert "No classes, for there is no image in them: empty, notes." in said
    assert "Not looked into, hidden or a system's: @eaDir." in said
    assert any("All 1 images of" in note and "one class, a." in note for note in said)
    assert summary["notes"] == said == json.loads((tmp_path / "x.beton.json").read_text())["notes"]


def test_a_class_of_the_subset_without_images_is_refused_by_name(tmp_path):
    src = tree(tmp_path / "src", "a/0.jpg", "b/notes.txt", "c/1.jpg")
    (tmp_path / "few.txt").write_text("a\nb\n")
    with pytest.raises(ConfigError, match=r"holds no image of 1 of the 2 classes of --subset .*: b\."):
        labels(src, tmp_path / "x.beton", subset=str(tmp_path / "few.txt"))
    for content in (b"\xff\xfe", b"\n"):
        (tmp_path / "few.txt").write_bytes(content)
        with pytest.raises(ConfigError, match=r"--subset .*few\.txt (cannot be read|names no class)"):
            labels(src, tmp_path / "x.beton", subset=str(tmp_path / "few.txt"))


# --- splits -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "split",
    ["train", "Train", "TEST", "val", "valid", "validation", "dev", "testing", "Training", "eval", "val2017", "test_images", "train-set"],
)
def test_a_split_beside_anything_asks_which(tmp_path, split):
    src = tree(tmp_path / "src", f"{split}/a/0.jpg", "cat/1.jpg", "dog/2.jpg", "readme.txt")
    with pytest.raises(ConfigError, match=rf"holds {split} beside 2 other folders: give --split .*--split {split}\), or --split \. where"):
        labels(src, tmp_path / "x.beton")
    with pytest.raises(ConfigError, match=f"holds {split} beside cat, dog: name the folder"):
        class_root(src)
    assert class_root(src, known={split, "cat"}) == src, "it is a class"
    assert class_root(tree(tmp_path / "other", "trains/0.jpg", "contest/1.jpg")) == tmp_path / "other"


def test_the_split_of_a_test_set_in_any_case(tmp_path):
    assert class_root(tree(tmp_path / "a", "Train/a/0.jpg", "Val/a/1.jpg", "notes/")) == tmp_path / "a" / "Val"
    with pytest.raises(ConfigError, match="name the folder"):
        class_root(tree(tmp_path / "b", "VAL/a/0.jpg", "Val/a/1.jpg"))


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ("../src/train", "a folder below SRC"),
        ("/usr", "a folder below SRC"),
        ("vall", "There is no folder .*holds VAL, Val, train"),
        ("val", "There is no folder .*holds VAL, Val, train"),
    ],
)
def test_a_split_that_is_not_there(tmp_path, split, said):
    src = tree(tmp_path / "src", "train/a/0.jpg", "Val/a/1.jpg", "VAL/a/1.jpg")
    with pytest.raises(ConfigError, match=said):
        find_sources(EncodeConfig(str(src), "x.beton", split=split))


# --- before the first image, and after the last ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("obstacle", ["sidecar", "file", "long name", "no room"])
def test_what_fails_at_the_end_is_found_before_the_first_image(tmp_path, monkeypatch, obstacle):
    src, out = tree(tmp_path / "src", "a/0.jpg"), tmp_path / "x.beton"
    if obstacle == "sidecar":
        (tmp_path / "x.beton.json").mkdir()
    elif obstacle == "file":
        (tmp_path / "busy").write_text("a file")
        out = tmp_path / "busy" / "x.beton"
    elif obstacle == "long name":
        out = tmp_path / f"{'x' * 232}.beton"  # it can be written, its notes under a temporary name cannot
    else:
        monkeypatch.setattr(preflight.shutil, "disk_usage", lambda path: preflight.shutil._ntuple_diskusage(10**9, 10**9 - 100, 100))
    monkeypatch.setattr("fastneg.data.encode._pass_through", None)
    said = {"sidecar": "is a folder", "no room": "would take about"}.get(obstacle, "cannot be written: ")
    with pytest.raises((BetonError, ConfigError), match=said):
        labels(src, out)


def test_finished_work_is_kept_where_the_notes_cannot_be_written(tmp_path, monkeypatch):
    src, replace = tree(tmp_path / "src", "a/0.jpg", "b/1.jpg"), os.replace

    def full(source, target):
        if str(target).endswith(("x.beton", "x.beton.json")):
            raise OSError(28, "No space left on device")
        replace(source, target)

    (tmp_path / "x.beton").write_bytes(b"an older one")
    monkeypatch.setattr(beton_writer.os, "replace", full)
    with pytest.raises(BetonError, match=r"is finished, but .*No space left on device.* kept in .*x\.kept\.\w+\.beton"):
        labels(src, tmp_path / "x.beton")
    (kept,) = tmp_path.glob("x.kept.*.beton")
    with BetonReader(kept, verify=True) as reader:
        assert sorted(reader.labels) == [0, 1]
    assert (tmp_path / "x.beton").read_bytes() == b"an older one" and len(list(tmp_path.iterdir())) == 3


def test_the_summary_counts_classes(tmp_path, capsys):
    src = tree(tmp_path / "src", "a/0.jpg", *(f"b/{i}.jpg" for i in range(3)), "c/0.jpg", "c/1.jpg")
    assert main(["encode", str(src), str(tmp_path / "x.beton"), "--workers", "1"]) == 0
    assert "6 images in 3 classes (labels from folders; the fewest in a: 1, the most in b: 3), " in capsys.readouterr().out


def test_a_walk_tells_all_that_it_meets(tmp_path):
    src = tree(tmp_path / "src", "b/1.txt", "a/in/0.jpg", ".git/x", "top.jpg")
    (src / "a" / "lost").symlink_to("nowhere")
    met = Tree()
    assert list(walk(src, met)) == [("", ["top.jpg"]), ("a", []), ("a/in", ["0.jpg"]), ("b", ["1.txt"])]
    assert met.passed_over == [".git"] and met.failed == {"a/lost": "it is a link to nowhere, which does not exist"}
    assert list_folder(src).folders == ["a", "b"] and list_folder(src).files == ["top.jpg"]
