"""Textures made offline, as a tree and as a field of a .beton: fastneg.data.encode.textures and
fastneg.recipes.textures."""

import io
import json
import os

import numpy as np
import pytest
from PIL import Image

from fastneg.config import ConfigError, EncodeConfig, TexturesConfig
from fastneg.data import BetonError, BetonReader
from fastneg.data.encode.encode import encode
from fastneg.data.encode.textures import SynthesisedTextures, write_textures
from fastneg.recipes.cli import main
from helpers.images import jpeg, photo, rotated, saved

SMALL = {"size": 40, "patch": 24, "block": 10, "candidates": 8}


@pytest.fixture
def tree(tmp_path):
    rng, root = np.random.default_rng(0), tmp_path / "photos"
    for name in ("a/1.jpg", "a/2.JPEG", "b/deep/3.png", "b/4.jpg"):
        path = root / "train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = photo(rng, 60, 80)
        path.write_bytes(jpeg(pixels) if path.suffix != ".png" else saved(pixels, "PNG"))
    return root


def settings(tree, out, **changes):
    return TexturesConfig(
        src=str(tree), out=str(out), split="train", **{**SMALL, "workers": 1, **changes}
    )


def files(out):
    found = (path for path in out.rglob("*") if path.is_file() and path.name != "textures.json")
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in found}


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)))


def test_the_tree_mirrors_the_images(tree, tmp_path):
    done = write_textures(settings(tree, tmp_path / "out"))
    assert done["made"] == done["images"] == 4 and not done["skipped"]
    made = files(tmp_path / "out")
    assert sorted(made) == [
        "train/a/1.jpg",
        "train/a/2.JPEG",
        "train/b/4.jpg",
        "train/b/deep/3.jpg",
    ]
    assert all(pixels(data).shape == (40, 40, 3) for data in made.values())
    assert len(set(made.values())) == 4


def test_workers_order_and_a_second_run_change_nothing(tree, tmp_path):
    write_textures(settings(tree, tmp_path / "one"))
    before = files(tmp_path / "one")
    for name in ("train/a/1.jpg", "train/b/4.jpg"):
        (tmp_path / "one" / name).unlink()
    done = write_textures(settings(tree, tmp_path / "one", workers=2))
    assert (done["made"], done["kept"]) == (2, 2) and files(tmp_path / "one") == before
    assert write_textures(settings(tree, tmp_path / "one"))["made"] == 0
    write_textures(settings(tree, tmp_path / "other", seed=1))
    assert all(data != before[name] for name, data in files(tmp_path / "other").items())


def test_other_settings_are_refused(tree, tmp_path):
    write_textures(settings(tree, tmp_path / "out"))
    with pytest.raises(ConfigError, match=r"textures of other settings \(block 10 → 12\)"):
        write_textures(settings(tree, tmp_path / "out", block=12))


def test_unreadable_images_are_skipped_and_listed_with_exit_code_1(tree, tmp_path, capsys):
    (tree / "train/a/0.jpg").write_bytes(b"no image")
    (tree / "train/a/3.jpg").write_bytes((tree / "train/a/1.jpg").read_bytes()[:-400])
    command = ["textures", str(tree), str(tmp_path / "out"), "--split", "train", "--workers", "1"]
    command += [word for name, value in SMALL.items() for word in (f"--{name}", str(value))]
    assert main(command) == 1
    said = capsys.readouterr().out
    assert (
        "4 textures made" in said
        and "skipped train/a/0.jpg: " in said
        and "skipped train/a/3.jpg: " in said
    )
    assert len(files(tmp_path / "out")) == 4
    for name in ("0", "3"):
        (tree / f"train/a/{name}.jpg").unlink()
    assert main(command) == 0
    assert "0 textures made" in capsys.readouterr().out
    # a folder that is not there
    assert main(["textures", str(tree), str(tmp_path / "out"), "--split", "vall"]) == 2
    # a block that does not fit
    assert main(["textures", str(tree), str(tmp_path / "out"), "--patch", "20"]) == 2


def test_an_interrupted_texture_leaves_nothing(tree, tmp_path, monkeypatch):
    replace = os.replace

    def broken(path, target):
        if target.name != "textures.json":
            raise OSError("no space left")
        replace(path, target)

    monkeypatch.setattr(os, "replace", broken)
    done = write_textures(settings(tree, tmp_path / "out"))
    assert len(done["skipped"]) == 4 and files(tmp_path / "out") == {}


def test_two_images_with_one_texture_are_refused(tree, tmp_path):
    (tree / "train/b/4.png").write_bytes((tree / "train/b/deep/3.png").read_bytes())
    with pytest.raises(BetonError, match="would have one texture"):
        write_textures(settings(tree, tmp_path / "out"))


BAD = {
    "1×1": saved(np.full((1, 1, 3), (200, 30, 90), np.uint8), "PNG"),
    "one row": saved(photo(np.random.default_rng(1), 1, 90), "PNG"),
    "smaller than a patch": jpeg(photo(np.random.default_rng(2), 17, 90)),
    "gray": saved(Image.fromarray(photo(np.random.default_rng(3), 50, 50)).convert("L"), "JPEG"),
    "transparent": saved(
        Image.fromarray(photo(np.random.default_rng(3), 50, 50)).convert("RGBA"), "PNG"
    ),
    "exif": rotated(Image.fromarray(photo(np.random.default_rng(3), 30, 70)), 6),
}


@pytest.mark.parametrize("name", BAD)
def test_strange_images_give_a_texture(name):
    made = SynthesisedTextures(**SMALL)([name], [BAD[name]])[0]
    assert pixels(made).shape == (40, 40, 3)


def test_a_constant_image_gives_its_colour_and_a_small_one_its_pixels():
    maker = SynthesisedTextures(**SMALL, quality=100)
    for size in ((1, 1, 3), (9, 70, 3)):
        made = pixels(maker.make("x", saved(np.full(size, (200, 30, 90), np.uint8), "PNG")))
        assert np.abs(made.astype(int) - (200, 30, 90)).max() <= 2
    halves = np.zeros((24, 24, 3), np.uint8)
    halves[:, 12:] = 255
    made = pixels(maker.make("x", saved(halves, "PNG"))).astype(int)
    assert (np.minimum(made, 255 - made).mean() < 8) and 40 < made.mean() < 215


@pytest.mark.parametrize("size", [(60, 80), (24, 24), (90, 30)])
def test_the_source_patches_are_the_centre_and_a_place_within(size):
    image = Image.fromarray(photo(np.random.default_rng(0), *size))
    maker, whole = SynthesisedTextures(**SMALL), np.asarray(image)
    y, x = (size[0] - 24) // 2, (size[1] - 24) // 2
    assert np.array_equal(maker._cut(image, (0.5, 0.5)), whole[y : y + 24, x : x + 24])
    assert np.array_equal(maker._cut(image, (0.0, 0.0)), whole[:24, :24])
    assert np.array_equal(maker._cut(image, (np.nextafter(1, 0),) * 2), whole[-24:, -24:])


def test_the_same_pixels_under_two_names_give_two_textures():
    maker, data = SynthesisedTextures(**SMALL), jpeg(photo(np.random.default_rng(0), 60, 80))
    one, other, again = maker(["a/1.jpg", "a/2.jpg", "a/1.jpg"], [data] * 3)
    assert one == again and one != other


def test_encode_makes_the_texture_field(tree, tmp_path):
    config = EncodeConfig(
        src=str(tree), out=str(tmp_path / "x.beton"), split="train", textures="synth", workers=1
    )
    encode(config)
    with BetonReader(tmp_path / "x.beton", verify=True) as reader:
        assert tuple(reader.image_fields) == ("image", "texture")
        maker = SynthesisedTextures(seed=config.seed)
        for i, name in enumerate(reader.names):
            assert reader.jpeg(i, "texture").tobytes() == maker.make(
                name, (tree / name).read_bytes()
            )


def test_the_settings_are_noted(tree, tmp_path):
    write_textures(settings(tree, tmp_path / "out"))
    assert json.loads((tmp_path / "out/textures.json").read_text())["candidates"] == 8
