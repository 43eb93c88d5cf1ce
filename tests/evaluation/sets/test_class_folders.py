"""Test sets on disk: folders of classes are encoded once, and again when they change."""

import os
import shutil

import pytest

from fastneg.config import ConfigError
from fastneg.data.errors import BetonError
from fastneg.evaluation.sets.class_folders import class_root
from helpers.encode_sources import make_folder
from helpers.labelled_sets import open_set


def test_a_folder_is_encoded_once_and_again_when_it_changes(tmp_path):
    folder, said = make_folder(tmp_path / "sketch"), []
    for _ in range(2):
        with open_set(folder, tmp_path / "run", 1, said.append) as reader:
            assert reader.classes == ["a", "b"] and len(reader) == 6
            name = reader.names[0]
            assert reader.jpeg(0).tobytes() == (folder / name).read_bytes(), "JPEGs pass through"
    assert len(said) == 1 and "6 images encoded" in said[0]
    (folder / "a" / "one-more.jpg").write_bytes((folder / name).read_bytes())
    with open_set(folder, tmp_path / "run", 1, said.append) as reader:
        assert len(reader) == 7 and len(said) == 2
    # another image of the same size, with the time of the one before
    old = (folder / "a" / "one-more.jpg").stat()
    data = bytearray((folder / "a" / "one-more.jpg").read_bytes())
    middle = len(data) * 3 // 4
    data[middle] ^= 1
    (folder / "a" / "one-more.jpg").write_bytes(data)
    os.utime(folder / "a" / "one-more.jpg", ns=(old.st_atime_ns, old.st_mtime_ns))
    with open_set(folder, tmp_path / "run", 1, said.append) as reader:
        stored = reader.jpeg(reader.names.index("a/one-more.jpg")).tobytes()
        assert stored == bytes(data) and len(said) == 3


def test_a_folder_of_splits_gives_its_val(tmp_path):
    make_folder(tmp_path / "stylized" / "train")
    with pytest.raises(ConfigError, match="name the folder whose sub-folders are the classes"):
        class_root(tmp_path / "stylized")
    make_folder(tmp_path / "stylized" / "val", images=1)
    assert class_root(tmp_path / "stylized") == tmp_path / "stylized" / "val"
    assert class_root(tmp_path / "stylized" / "val") == tmp_path / "stylized" / "val"


def test_a_folder_in_a_folder_as_archives_are_unpacked(tmp_path):
    make_folder(tmp_path / "ImageNet-Sketch" / "sketch")
    (tmp_path / "ImageNet-Sketch" / "README.txt").write_text("sketches")
    assert class_root(tmp_path / "ImageNet-Sketch") == tmp_path / "ImageNet-Sketch" / "sketch"
    make_folder(tmp_path / "one", classes=("only", "other"))
    shutil.rmtree(tmp_path / "one" / "other")
    assert class_root(tmp_path / "one") == tmp_path / "one", "one class is a set as well"
    (tmp_path / "one" / "only" / "deeper").mkdir()
    assert class_root(tmp_path / "one") == tmp_path / "one", "its folder holds images"


def test_a_folder_without_a_known_class_is_not_encoded(tmp_path):
    folder = make_folder(tmp_path / "renamed")
    said = (
        r"holds 2 folders \(a, b\), none of which the classifier or --categories names: .*, "
        r"such as n1, n2"
    )
    with (
        pytest.raises(ConfigError, match=said),
        open_set(folder, tmp_path / "run", 1, known={"n1", "n2"}),
    ):
        pass
    assert not (tmp_path / "run").exists()
    with open_set(folder, tmp_path / "run", 1, lambda text: None, known={"a", "z"}) as reader:
        assert reader.classes == ["a", "b"]


def test_a_file_that_is_no_image_is_named_and_what_to_do(tmp_path):
    folder = make_folder(tmp_path / "set")
    (folder / "a" / "bad.jpg").write_bytes(b"nothing")
    said = (
        r"bad\.jpg cannot be used.*fastneg encode .*set X\.beton --on_error skip; "
        r"then name X\.beton"
    )
    with pytest.raises(BetonError, match=said), open_set(folder, tmp_path / "run", 1):
        pass
    assert not list((tmp_path / "run" / "sets").iterdir())


def test_what_is_not_there_is_told_with_what_was_expected(tmp_path):
    with (
        pytest.raises(
            ConfigError,
            match=r"does not exist: a \.beton file, a folder .*<class>/\*\.jpg, "
            r"ImageNet-C's .* CIFAR-10-C's",
        ),
        open_set(tmp_path / "none", tmp_path),
    ):
        pass
    (tmp_path / "empty").mkdir()
    with (
        pytest.raises(ConfigError, match="holds no folders"),
        open_set(tmp_path / "empty", tmp_path),
    ):
        pass
