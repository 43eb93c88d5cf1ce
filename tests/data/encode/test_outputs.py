"""What a command writes is none of what it reads."""

import numpy as np
import pytest

from fastneg.config import EncodeConfig, TexturesConfig
from fastneg.data import BetonWriter
from fastneg.data.encode.outputs import encode_outputs, named, named_data, textures_output
from fastneg.files import OutputError
from helpers.images import jpeg
from helpers.odd_trees import tree


def test_paths_that_texts_name(tmp_path):
    tree(tmp_path, "a.beton", "b.beton")
    assert named(None, "x,y", tmp_path / "*.beton") == [
        "x",
        "y",
        str(tmp_path / "a.beton"),
        str(tmp_path / "b.beton"),
    ]
    assert named_data("x.beton") == ["x.beton", "x.beton.json"]


def test_an_output_of_encode(tmp_path):
    src = tree(tmp_path / "src", "cat/0.jpg")
    out = tmp_path / "x.beton"
    assert encode_outputs(EncodeConfig(str(src), str(out))) == [out]
    with pytest.raises(OutputError, match="OUT"):
        encode_outputs(EncodeConfig(str(src), str(src)))


def test_a_file_of_another_kind_is_not_written_over(tmp_path):
    """Of `encode *.tar` a shell makes `encode a.tar b.tar`."""
    src = tree(tmp_path / "src", "cat/0.jpg")
    (tmp_path / "b.tar").write_bytes(b"shard " * 99)
    with pytest.raises(OutputError, match=r"OUT is .*b\.tar, which is there and no \.beton file"):
        encode_outputs(EncodeConfig(str(src), str(tmp_path / "b.tar")))
    (tmp_path / "empty").touch()
    with BetonWriter(tmp_path / "ours") as writer:
        writer.add(jpeg(np.zeros((8, 8, 3), np.uint8)), 8, 8, label=0)
    (tmp_path / "cut.beton").write_bytes(b"cut")
    for name in ("empty", "ours", "cut.beton"):
        assert encode_outputs(EncodeConfig(str(src), str(tmp_path / name)))


@pytest.mark.parametrize("place", ["src", "src/cat/out", "."])
def test_textures_stand_beside_their_images(tmp_path, place):
    tree(tmp_path / "src", "cat/0.jpg")
    with pytest.raises(OutputError):
        textures_output(TexturesConfig(str(tmp_path / "src"), str(tmp_path / place)))
    textures_output(TexturesConfig(str(tmp_path / "src"), str(tmp_path / "out")))
