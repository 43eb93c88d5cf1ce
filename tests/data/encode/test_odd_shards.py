"""Shards as people have them: the labels of `encode` against those written by hand, or a refusal
that names what is wrong; and which field of a foreign .beton file is the label.

fastneg.data.encode.companions and fastneg.data.label_names are tested here.
"""

import pickle

import numpy as np
import pytest

from fastneg.config import ConfigError
from fastneg.data import BetonError, BetonReader
from fastneg.data.beton.format import DESCRIPTOR, HEADER
from fastneg.data.beton.writer import BetonWriter
from fastneg.data.encode.archives import list_archives
from fastneg.data.encode.folders import SUFFIXES
from fastneg.data.label_names import label_field
from fastneg.data.labels import labels_of
from helpers.encode_sources import PHOTO, labelled, tar


def shard(tmp_path, members):
    return tar(tmp_path / "x.tar", [("0.jpg", PHOTO), ("1.jpg", PHOTO), *members])


SHARDS = {
    "cls": ([("0.cls", b"2\n"), ("1.cls", b"0")], ("2", "0")),
    "cls with a mark": ([("0.cls", b"\xef\xbb\xbf2"), ("1.cls", b"0")], ("2", "0")),
    "cls of floats": ([("0.cls", b"2.0"), ("1.cls", b"007")], ("2", "7")),
    "class_name": (
        [("0.json", b'{"class_name": "cat"}'), ("1.json", b'{"class_name": "dog"}')],
        ("cat", "dog"),
    ),
    "target": ([("0.json", b'{"target": 1, "w": 3}'), ("1.json", b'{"target": 0}')], ("1", "0")),
    "Class": ([("0.json", b'{"Class": "b"}'), ("1.json", b'{"Class": "a"}')], ("b", "a")),
    "label before class": (
        [(f"{i}.json", b'{"class": 9, "label": %d}' % i) for i in (0, 1)],
        ("0", "1"),
    ),
    "cls before json": (
        [("0.cls", b"1"), ("0.json", b'{"label": "x"}'), ("1.cls", b"0")],
        ("1", "0"),
    ),
    "json before cls": ([("0.json", b"{"), ("0.cls", b"1"), ("1.cls", b"0")], ("1", "0")),
    "a json beside a blank cls": (
        [("0.cls", b""), ("0.json", b'{"label": 3}'), ("1.cls", b"0")],
        ("3", "0"),
    ),
    "captions": (
        [("0.json", b'{"caption": "a cat"}'), ("1.json", b'{"caption": "a dog"}')],
        (None, None),
    ),
}


@pytest.mark.parametrize("name", SHARDS)
def test_labels_of_a_shard(tmp_path, name):
    members, expected = SHARDS[name]
    found, _ = labelled(shard(tmp_path, members), tmp_path)
    assert found == dict(zip(("0.jpg", "1.jpg"), expected, strict=True))


@pytest.mark.parametrize(
    ("member", "data", "said"),
    [
        ("0.cls", (3).to_bytes(8, "little"), r"0.cls holds 8 bytes that are no text"),
        ("0.cls", pickle.dumps(3), "bytes that are no text"),
        ("0.cls", np.int64(700).tobytes(), "bytes that are no text"),
        ("0.cls", b"3\n4", "no text of one line"),
        ("0.cls", b"-1", "0.jpg has the label -1"),
        ("0.cls", b"nan", "0.jpg has no label"),
        ("0.json", b'{"label": [1, 2]}', "one class for each image"),
        ("0.json", b'{"label": NaN}', "0.jpg has no label"),
        ("0.json", b'{"label": 0.5}', "0.jpg has the label 0.5"),
        ("0.json", b'{"label": -1}', "0.jpg has the label -1"),
    ],
)
def test_companions_that_tell_no_class_are_refused(tmp_path, member, data, said):
    path = tar(tmp_path / "x.tar", [("0.jpg", PHOTO), (member, data)])
    with pytest.raises(BetonError, match=said):
        labelled(path, tmp_path)
    assert not (tmp_path / "out.beton").exists()


def test_labels_in_fields_of_several_names_are_refused(tmp_path):
    path = shard(tmp_path, [("0.json", b'{"label": 1}'), ("1.json", b'{"class": "cat"}')])
    with pytest.raises(BetonError, match=r"fields label, class of \.json files"):
        labelled(path, tmp_path)


@pytest.mark.parametrize(
    ("members", "source", "said"),
    [
        (
            [("0.json", b'{"label": 1, "label_name": "x"}'), ("1.json", b'{"label": 0}')],
            "the field label of .json files",
            "label_name",
        ),
        ([("0.cls", b"1"), ("0.json", b'{"class": 4}'), ("1.cls", b"0")], ".cls files", "class"),
        ([("0.json", b'{"boxes": []}')], "none", "boxes"),
        ([("0.txt", b"cat"), ("1.txt", b"dog")], "none", r".txt (2)"),
    ],
)
def test_what_shards_hold_and_is_not_taken_is_told(tmp_path, members, source, said):
    found = list_archives([shard(tmp_path, members)], SUFFIXES)
    assert found.labels_from == source and said in found.notes[0]


def test_fields_beside_images_in_folders_are_told(tmp_path):
    path = tar(
        tmp_path / "x.tar",
        [("a/0.jpg", PHOTO), ("a/0.json", b'{"score": 4}'), ("a/readme.txt", b"")],
    )
    found = list_archives([path], SUFFIXES)
    assert found.labels_from == "the folders in the archives"
    assert found.notes == ["Fields of the .json files that are not taken: score."]


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ({"label": "float", "index": "int"}, None),
        ({"label": "array", "index": "int"}, None),
        ({"label": "JSON", "index": "int"}, None),
        ({"covariate": "array", "index": "int"}, None),
        ({"target": "float", "colour": "int"}, None),
        ({"index": "int"}, None),
        ({"Sample_ID": "int"}, None),
        ({"index": "int", "target": "int"}, "target"),
        ({"class_id": "int", "weight": "float"}, "class_id"),
        ({"class": "int", "label": "int"}, "label"),
        ({"colour": "int"}, "colour"),
        ({"colour": "int", "file": "bytes", "meta": "JSON"}, "colour"),
        ({"colour": "int", "shape": "int"}, None),
        ({}, None),
    ],
)
def test_only_a_field_that_says_so_is_the_label(kinds, expected):
    assert label_field(kinds) == expected


def test_no_other_number_stands_in_for_a_label_of_floats(tmp_path):
    path = tmp_path / "x.beton"
    with BetonWriter(path, ("label", "index")) as writer:
        writer.add(PHOTO, 24, 24, label=1, index=5)
    with BetonReader(path) as reader:
        assert reader.labels.tolist() == [1]
        at = HEADER.itemsize + reader.fields.index("label") * DESCRIPTOR.itemsize
    data = bytearray(path.read_bytes())
    data[at] = 0  # the type of a float, which takes as many bytes
    path.write_bytes(data)
    (tmp_path / "x.beton.json").unlink(missing_ok=True)
    with BetonReader(path) as reader:
        assert reader.labels is None and reader.ints["index"].tolist() == [5]
        with pytest.raises(
            ConfigError, match=r"no labels: .* image \(image\), label \(float\), index \(int\)"
        ):
            labels_of(reader)


def test_archives_with_several_parts_of_a_set_ask_which(tmp_path):
    members = [
        (f"in100/{part}/{label}/{label}{part}.jpg", PHOTO)
        for part in ("train", "Val")
        for label in "ab"
    ]
    path = tar(tmp_path / "x.tar", members)
    with pytest.raises(ConfigError, match="holds train, val: give --split"):
        labelled(path, tmp_path)
    assert labelled(path, tmp_path, split="val")[0] == {
        f"in100/Val/{label}/{label}Val.jpg": label for label in "ab"
    }
    assert len(labelled(path, tmp_path, split=".")[0]) == 4
    with pytest.raises(
        ConfigError, match=r"--split is test, which has no effect .*: there are train, val"
    ):
        labelled(path, tmp_path, split="test")
