"""Chroma: lossless sources keep it, as JPEG 4:4:4 or as raw pixels; a JPEG that is encoded again
loses none of what it has."""

import io
import json

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from fastneg.config import ConfigError, EncodeConfig, TexturesConfig, VerifyConfig
from fastneg.data import BetonReader, BetonWriter
from fastneg.data.beton.verify import verify
from fastneg.data.encode.encode import encode
from fastneg.data.encode.prepare import prepare
from fastneg.data.encode.textures import SynthesisedTextures, write_textures
from fastneg.data.jpeg import jpeg_header
from fastneg.evaluation.sets import encoded as set_files
from helpers.encode_sources import make_folder
from helpers.images import rotated, saved
from helpers.labelled_sets import open_set

# Colours that change from pixel to pixel while the brightness stays: all of it is lost where chroma
# is halved.
CHECKS = np.where(np.indices((48, 64)).sum(0)[..., None] % 2, [200, 60, 60], [40, 130, 100]).astype(
    np.uint8
)
HALVED, WHOLE = 2, 0


def sampling(data):
    with Image.open(io.BytesIO(bytes(data))) as image:
        return JpegImagePlugin.get_sampling(image)


def shown(data):
    return np.asarray(Image.open(io.BytesIO(bytes(data))).convert("RGB")).astype(int)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("PPM", {}),
        ("GIF", {}),
        ("WEBP", {"lossless": True}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_lossless_sources_keep_their_chroma(kind, options):
    data = saved(CHECKS, kind, **options)
    stored = prepare(data, quality=95)
    assert sampling(stored.jpeg) == WHOLE and abs(shown(stored.jpeg) - shown(data)).mean() < 3
    assert abs(shown(saved(CHECKS, "JPEG", quality=95, subsampling=2)) - CHECKS).mean() > 15, (
        "the picture tells 4:2:0"
    )
    raw = prepare(data, lossless=True)
    assert raw.raw and np.array_equal(
        np.frombuffer(raw.jpeg, np.uint8).reshape(48, 64, 3), shown(data)
    )
    small = prepare(data, max_side=32)
    assert sampling(small.jpeg) == WHOLE and (small.height, small.width) == (24, 32)


@pytest.mark.parametrize(
    ("own", "expected"), [(0, WHOLE), (1, WHOLE), (2, HALVED)], ids=["4:4:4", "4:2:2", "4:2:0"]
)
def test_a_jpeg_encoded_again_keeps_its_subsampling_or_better(own, expected):
    data = saved(CHECKS, "JPEG", quality=95, subsampling=own)
    assert jpeg_header(data).chroma == ("4:2:0" if own == 2 else "4:4:4")
    assert sampling(prepare(data, max_side=60).jpeg) == expected
    assert prepare(data, lossless=True) == (data, 48, 64, (), False), (
        "what passes through stays a JPEG"
    )
    assert prepare(data, max_side=32, lossless=True).raw
    cmyk = saved(Image.fromarray(CHECKS).convert("CMYK"), "JPEG", quality=95)
    assert sampling(prepare(cmyk).jpeg) == WHOLE
    assert sampling(prepare(rotated(Image.fromarray(CHECKS).convert("L"), 6)).jpeg) == HALVED, (
        "gray has no chroma to lose"
    )


def test_made_textures_keep_their_chroma():
    made = SynthesisedTextures(size=32, patch=16, block=8, candidates=4).make(
        "x.png", saved(CHECKS, "PNG")
    )
    assert sampling(made) == WHOLE


def test_encode_lossless_keeps_every_pixel(tmp_path, capsys):
    folder = make_folder(tmp_path / "photos", suffix="png")
    (folder / "a" / "passes.jpg").write_bytes(saved(CHECKS, "JPEG", quality=90))
    done = encode(
        EncodeConfig(
            str(folder), str(tmp_path / "x.beton"), lossless=True, textures=str(folder), workers=1
        )
    )
    assert (
        done["passed_through"] == 1
        and done["re_encoded"] == {"png": 6} == done["textures_re_encoded"]
    )
    with BetonReader(tmp_path / "x.beton", verify=True) as reader:
        for i, name in enumerate(reader.names):
            raw = name != "a/passes.jpg"
            assert reader.raw[i] == raw == reader.is_raw(i, "texture")
            assert np.array_equal(shown(reader.encoded(i)), shown((folder / name).read_bytes()))
            assert reader.encoded(i, "texture").tobytes() == reader.encoded(i).tobytes()
    assert verify(VerifyConfig(str(tmp_path / "x.beton"), workers=1))["bad"] == []
    whole = (tmp_path / "x.beton").read_bytes()
    with BetonReader(tmp_path / "x.beton") as reader:
        spoilt = next(i for i in range(len(reader)) if reader.raw[i])
        at = whole.index(reader.stored(spoilt).tobytes())
    (tmp_path / "x.beton").write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    assert [
        bad["index"] for bad in verify(VerifyConfig(str(tmp_path / "x.beton"), workers=1))["bad"]
    ] == [spoilt], "the CRC tells"


def test_raw_pixels_larger_than_a_page(tmp_path):
    large = np.tile(CHECKS, (1, 2, 1))
    with BetonWriter(tmp_path / "x.beton", page_size=4096) as writer:
        writer.add_raw(large, label=0)
        writer.add(saved(CHECKS, "JPEG"), 48, 64, label=1)
    with BetonReader(tmp_path / "x.beton", verify=True) as reader:
        assert np.array_equal(shown(reader.encoded(0)), large) and reader.raw.tolist() == [
            True,
            False,
        ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"quality": 80}, "--quality is 80, which has no effect with --lossless True"),
        ({"writer": "ffcv"}, "give --ffcv_mode raw"),
    ],
)
def test_what_has_no_effect_with_lossless_is_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        EncodeConfig("a", "b", lossless=True, **options)
    assert EncodeConfig("a", "b").quality == 90


def test_evaluation_keeps_the_pixels_of_a_set_or_their_chroma(tmp_path, monkeypatch):
    folder, said = make_folder(tmp_path / "edges", suffix="png"), []
    with open_set(folder, tmp_path / "run", 1, said.append) as reader:
        assert reader.raw.all() and np.array_equal(
            shown(reader.encoded(0)), shown((folder / reader.names[0]).read_bytes())
        )
    assert said[0].endswith(", 6 of them as raw pixels.")
    monkeypatch.setattr(set_files, "LARGEST_LOSSLESS", 1000)
    with open_set(
        make_folder(tmp_path / "large", suffix="png"), tmp_path / "run", 1, said.append
    ) as reader:
        assert not reader.raw.any() and sampling(reader.jpeg(0)) == WHOLE
    assert said[1].endswith(", 6 of them as JPEGs of quality 100, 4:4:4.")


def test_files_that_an_earlier_version_made_are_not_used(tmp_path, monkeypatch):
    folder, said = make_folder(tmp_path / "edges", suffix="png"), []
    for storage in ("an earlier one", set_files.STORAGE, set_files.STORAGE):
        monkeypatch.setattr(set_files, "STORAGE", storage)
        with open_set(folder, tmp_path / "run", 1, said.append):
            pass
    assert len(said) == 2


def test_textures_of_an_earlier_version_are_not_continued(tmp_path):
    """A folder with half of its textures in 4:2:0 would mix both."""

    config = TexturesConfig(
        str(make_folder(tmp_path / "p")),
        str(tmp_path / "t"),
        size=16,
        patch=16,
        block=8,
        candidates=2,
        workers=1,
    )
    write_textures(config)
    note = tmp_path / "t" / "textures.json"
    settings = json.loads(note.read_text())
    assert settings.pop("chroma") == "4:4:4"
    note.write_text(json.dumps(settings))
    with pytest.raises(ConfigError, match="chroma None → 4:4:4"):
        write_textures(config)
