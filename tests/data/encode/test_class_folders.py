"""Folders of classes: what is a split, and on which level the classes lie."""

import pytest

from fastneg.config import ConfigError
from fastneg.data.encode.class_folders import (
    as_it_is,
    holds_image,
    list_top,
    scan,
    split_folder,
    splits_among,
    takes_as_is,
)
from helpers.odd_trees import tree


def test_names_of_splits():
    names = ["train", "VAL", "test_images", "trainer", "cat", "valid-2"]
    assert splits_among(names) == ["train", "VAL", "test_images", "valid-2"]


def test_the_split_is_found_in_another_case(tmp_path):
    tree(tmp_path, "Train/cat/0.jpg")
    assert split_folder(tmp_path, "train") == tmp_path / "Train"
    with pytest.raises(ConfigError, match="holds Train"):
        split_folder(tmp_path, "test")
    for outside in ("../x", "/x"):
        with pytest.raises(ConfigError, match="below SRC"):
            split_folder(tmp_path, outside)


def test_a_point_takes_the_folders_as_they_are():
    assert takes_as_is(".") and takes_as_is("val/.") and not takes_as_is("val")
    assert as_it_is("val") == "--split val/." and as_it_is(None) == "--split ."


def test_images_of_each_folder(tmp_path):
    tree(tmp_path, "cat/0.jpg", "cat/in/1.jpg", "dog/2.jpg", "empty/", "notes/a.txt")
    found = scan(tmp_path, list_top(tmp_path))
    assert {name for name, places in found.places.items() if places} == {"cat", "dog"}
    assert holds_image(tmp_path / "cat") and not holds_image(tmp_path / "notes")
