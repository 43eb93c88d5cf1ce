"""A texture for each image, at the same path below another folder."""

import pytest

from fastneg.config import ConfigError
from fastneg.data.encode.paired import MirroredTextures
from helpers.odd_trees import IMAGE, tree


def test_textures_are_found_at_the_same_path_with_any_suffix(tmp_path):
    tree(tmp_path, "cat/0.jpg", "cat/1.jpg")
    textures = MirroredTextures(tmp_path)
    assert textures(["cat/0.jpg", "cat/1.png"], None) == [IMAGE, IMAGE]
    [missing] = textures.missing(["cat/0.jpg", "cat/1.png", "cat/2.jpg"])
    assert missing[0] == "cat/2.jpg" and "nor one with another suffix" in missing[1]


def test_a_path_that_leaves_the_folder_is_told(tmp_path):
    tree(tmp_path, "in/0.jpg", "0.jpg")
    [told] = MirroredTextures(tmp_path / "in")(["../0.jpg"], None)
    assert isinstance(told, str)


def test_a_folder_is_wanted(tmp_path):
    with pytest.raises(ConfigError, match="--textures"):
        MirroredTextures(tmp_path / "none")
