"""Odd source trees: the labels of encode against those written by hand, and what is said of what is
left out.

fastneg.data.encode.folders and fastneg.data.encode.class_folders are tested here and in
test_unreadable_folders.py.
"""

import json
import os

import pytest

from fastneg.config import ConfigError, EncodeConfig
from fastneg.data import BetonReader
from fastneg.data.encode.sources import find_sources
from fastneg.evaluation.sets.class_folders import Path, class_root
from fastneg.evaluation.sets.encoded import encoded
from fastneg.recipes.cli import main
from helpers.odd_trees import IMAGE, labels, tree

SYSTEMS = [
    f"{name}/x.jpg"
    for name in (
        "__MACOSX",
        ".ipynb_checkpoints",
        "@eaDir",
        "lost+found",
        "$RECYCLE.BIN",
        "System Volume Information",
        ".git",
        ".Trash-0",
    )
]
ODD_TREES = {
    "hidden folders and those of systems": (
        ["cat/0.jpg", "dog/1.jpg", *SYSTEMS], {},
        {"cat/0.jpg": 0, "dog/1.jpg": 1}, ["cat", "dog"],
    ),
    "the same within a class": (
        ["cat/0.jpg", "cat/__MACOSX/._0.jpg", "cat/@eaDir/0.jpg", "cat/.ipynb_checkpoints/0.jpg",
         "dog/in/1.jpg"], {},
        {"cat/0.jpg": 0, "dog/in/1.jpg": 1}, ["cat", "dog"],
    ),
    "folders without an image are no classes": (
        ["ant/", "bee/notes.txt", "bee/deeper/", "cat/0.jpg", "dog/1.jpg"], {},
        {"cat/0.jpg": 0, "dog/1.jpg": 1}, ["cat", "dog"],
    ),
    "Tiny-ImageNet's train": (
        ["train/n2/images/0.JPEG", "train/n1/images/1.JPEG", "train/n1/n1_boxes.txt",
         "val/images/2.JPEG"], {"split": "train"},
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
        {"run/f1/0.jpg": 1, "run/f2/1.jpg": 1,
         "jump/f3/2.jpg": 0, "jump/f4/3.jpg": 0, "jump/f5/4.jpg": 0}, ["jump", "run"],
    ),
    "domains, taken as classes by hand": (
        ["photo/dog/0.jpg", "photo/cat/1.jpg", "art/dog/2.jpg", "art/cat/3.jpg"], {"split": "."},
        {"photo/dog/0.jpg": 1, "photo/cat/1.jpg": 1, "art/dog/2.jpg": 0, "art/cat/3.jpg": 0},
        ["art", "photo"],
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
    """Of a class, an image, the source, the output and a list of classes, with textures made of
    them."""
    src = os.fsencode(tmp_path) + b"/\xffsrc"
    for folder in (b"caf\xe9", b"tea"):
        os.makedirs(src + b"/" + folder)
        with open(src + b"/" + folder + b"/\xfe.jpg", "wb") as file:
            file.write(IMAGE)
    (tmp_path / "few.txt").write_text("caf\\udce9\n")
    out = os.fsdecode(os.fsencode(tmp_path) + b"/\xfd.beton")
    assert main(["encode", os.fsdecode(src), out, "--workers", "1", "--textures", "synth"]) == 0
    with BetonReader(out) as reader:
        assert reader.classes == ["caf\\udce9", "tea"] and sorted(reader.names) == [
            "caf\\udce9/\\udcfe.jpg",
            "tea/\\udcfe.jpg",
        ]
        assert {name: reader.labels[i] for i, name in enumerate(reader.names)} == {
            "caf\\udce9/\\udcfe.jpg": 0,
            "tea/\\udcfe.jpg": 1,
        }
    _, named, _ = labels(os.fsdecode(src), tmp_path / "y.beton", subset=str(tmp_path / "few.txt"))
    assert named == ["caf\\udce9"]
    encoded(Path(os.fsdecode(src)), tmp_path / "run", 1, lambda text: None)
    assert "Traceback" not in capfd.readouterr().err


# --- the level of the classes


@pytest.mark.parametrize(
    ("files", "options", "said"),
    [
        (
            ["val/images/0.JPEG", "val/val_annotations.txt"],
            {"split": "val"},
            r"seem to be in val_annotations\.txt.*val/images X\.beton\. "
            r"\(--split val/\. encodes it",
        ),
        (
            ["images/0.jpg", "images/1.jpg"],
            {},
            r"one class, images, which is not a class name.*fastneg encode .*/images X",
        ),
        (["ILSVRC2012_img_val/0.JPEG"], {"split": "."}, None),
        (["pics/0.jpg", "labels.csv"], {}, r"encode .*/labels\.csv X"),
        (
            ["set/a/0.jpg", "set/b/1.jpg", "__MACOSX/a/0.jpg"],
            {},
            r"2 folders below it \(a, b\): give .*src/set as SRC, whose folders",
        ),
        (["set/x/y/a/0.jpg", "set/x/y/b/1.jpg"], {}, r"give .*src/set/x/y as SRC"),
        (
            ["set/train/a/0.jpg", "set/val/a/1.jpg"],
            {},
            r"give .*src/set as SRC, with --split train",
        ),
        (
            ["art/dog/0.jpg", "art/cat/1.jpg", "photo/dog/2.jpg", "photo/cat/3.jpg"],
            {},
            "which level holds the classes",
        ),
        (
            ["dog/train/0.jpg", "dog/test/1.jpg", "cat/train/2.jpg", "cat/test/3.jpg"],
            {},
            "which level holds the classes",
        ),
    ],
)
def test_one_level_too_many_is_refused_with_what_to_type_instead(tmp_path, files, options, said):
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
    assert any("holds 1 image, all of one class, a." in note for note in said)
    assert summary["notes"] == said == json.loads((tmp_path / "x.beton.json").read_text())["notes"]


def test_a_class_of_the_subset_without_images_is_refused_by_name(tmp_path):
    src = tree(tmp_path / "src", "a/0.jpg", "b/notes.txt", "c/1.jpg")
    (tmp_path / "few.txt").write_text("a\nb\n")
    with pytest.raises(
        ConfigError, match=r"has no images for 1 of the 2 classes of --subset .*: b\."
    ):
        labels(src, tmp_path / "x.beton", subset=str(tmp_path / "few.txt"))
    for content in (b"\xff\xfe", b"\n"):
        (tmp_path / "few.txt").write_bytes(content)
        with pytest.raises(
            ConfigError, match=r"--subset .*few\.txt (cannot be read|names no class)"
        ):
            labels(src, tmp_path / "x.beton", subset=str(tmp_path / "few.txt"))


# --- splits


@pytest.mark.parametrize(
    "split",
    [
        "train",
        "Train",
        "TEST",
        "val",
        "valid",
        "validation",
        "dev",
        "testing",
        "Training",
        "eval",
        "val2017",
        "test_images",
        "train-set",
    ],
)
def test_a_split_beside_anything_asks_which(tmp_path, split):
    src = tree(tmp_path / "src", f"{split}/a/0.jpg", "cat/1.jpg", "dog/2.jpg", "readme.txt")
    with pytest.raises(
        ConfigError,
        match=rf"holds {split} beside 2 other folders: give --split .*"
        rf"--split {split}\), or --split \. where",
    ):
        labels(src, tmp_path / "x.beton")
    with pytest.raises(ConfigError, match=f"holds {split} beside cat, dog: name the folder"):
        class_root(src)
    assert class_root(src, known={split, "cat"}) == src, "it is a class"
    assert (
        class_root(tree(tmp_path / "other", "trains/0.jpg", "contest/1.jpg")) == tmp_path / "other"
    )


def test_the_split_of_a_test_set_in_any_case(tmp_path):
    assert (
        class_root(tree(tmp_path / "a", "Train/a/0.jpg", "Val/a/1.jpg", "notes/"))
        == tmp_path / "a" / "Val"
    )
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


def test_the_summary_counts_classes(tmp_path, capsys):
    src = tree(tmp_path / "src", "a/0.jpg", *(f"b/{i}.jpg" for i in range(3)), "c/0.jpg", "c/1.jpg")
    assert main(["encode", str(src), str(tmp_path / "x.beton"), "--workers", "1"]) == 0
    assert (
        "6 images in 3 classes (labels from folders; the fewest in a: 1, the most in b: 3), "
        in capsys.readouterr().out
    )
