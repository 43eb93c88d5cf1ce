"""fastneg stencils: what it writes holds what was asked for, and nothing is written over."""

import numpy as np
import pytest
from PIL import Image

from fastneg.config import ConfigError
from fastneg.config.tools import FAMILIES, StencilsConfig, StencilsSpec
from fastneg.data import BetonReader
from fastneg.data.stencils import CLASSES, SETS, TEXTURES, render
from fastneg.recipes.cli import main

SMALL = ["--train", "24", "--test", "12", "--workers", "1"]


def test_there_are_as_many_families_as_the_config_says():
    assert len(CLASSES) == len(TEXTURES) == FAMILIES


def test_files_hold_the_images_of_their_spec(tmp_path, capsys):
    out = tmp_path / "set"
    flags = ["--shapes", "4", "--textures", "6", "--rho", "0.5", "--size", "50", "--seed", "3"]
    assert main(["stencils", str(out), *flags, *SMALL]) == 0
    assert sorted(path.name for path in out.glob("*.beton")) == sorted(f"{s}.beton" for s in SETS)
    spec = StencilsSpec(size=50, shapes=4, textures=6, rho=0.5, seed=3)
    with BetonReader(out / "train.beton") as reader:
        assert len(reader) == 24 and reader.classes == list(CLASSES[:4])
        assert (reader.sizes == 50).all()
        drawn = [render(spec, "train", index)[1:] for index in range(24)]
        found = sorted(zip(reader.labels.tolist(), reader.ints["texture"].tolist(), strict=True))
        assert found == sorted(drawn)
    assert "58.3% of the objects wear the texture of their class" in capsys.readouterr().out


def test_folders_hold_jpegs_by_class(tmp_path):
    out = tmp_path / "set"
    flags = ["--to", "folders", "--sets", "train, swapped", "--shapes", "3"]
    assert main(["stencils", str(out), *flags, *SMALL]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["stencils.json", "swapped", "train"]
    assert len(list((out / "train").glob("*/*.jpg"))) == 24
    names = [path.name for path in (out / "swapped").glob("*/*.jpg")]
    assert len(names) == 12 and all("-" in name for name in names)
    assert Image.open(next((out / "train").glob("*/*.jpg"))).size == (64, 64)


def test_sets_may_follow_but_not_of_another_kind_nor_over_what_is_there(tmp_path, capsys):
    call = lambda sets, *more: main(["stencils", str(tmp_path), "--sets", sets, *SMALL, *more])
    assert call("train") == 0 and call("outline") == 0
    assert call("train") == 2 and "is there already" in capsys.readouterr().err
    assert call("silhouette", "--rho", "0") == 2
    assert "is of other stencils" in capsys.readouterr().err
    assert call("silhouettes") == 2 and "'silhouettes': some of train" in capsys.readouterr().err


@pytest.mark.parametrize("textures", [None, 5])
def test_textures_beyond_the_shapes_are_no_class_s_own(textures):
    spec = StencilsSpec(shapes=3, textures=textures, rho=0.0, size=48)
    shown = {name: {render(spec, name, i)[1:] for i in range(120)} for name in SETS[:4]}
    every = {(shape, texture) for shape in range(3) for texture in range(textures or 3)}
    assert shown["train"] == shown["decorrelated"] == every
    # a conflict is with another class's own
    assert shown["swapped"] == {(a, b) for a in range(3) for b in range(3) if a != b}


def test_the_default_is_the_set_as_it_was():
    one, other = StencilsSpec(), StencilsSpec(textures=12)
    for index in (0, 7):
        assert all(
            np.array_equal(a, b)
            for a, b in zip(render(one, "train", index), render(other, "train", index), strict=True)
        )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"textures": 11}, "--textures is 11, below --shapes 12"),
        ({"textures": 17}, "--textures"),
        ({"out": ""}, "OUT is missing"),
        ({"to": "tar"}, "--to"),
        ({"size": 32}, "--size"),
    ],
)
def test_what_cannot_be_is_refused(wrong, said):
    with pytest.raises(ConfigError, match=said):
        StencilsConfig(**{"out": "set", **wrong})


def test_a_config_gives_its_spec():
    config = StencilsConfig(size=56, shapes=5, textures=7, rho=0.3, seed=2, out="set")
    assert config.spec() == StencilsSpec(size=56, shapes=5, textures=7, rho=0.3, seed=2)
