"""The built-in set as a folder and as .beton files; what is refused."""

import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from fastneg.data import stencils
from fastneg.data.stencils import (
    CLASSES,
    SETS,
    TEST_SETS,
    StencilsSpec,
)
from fastneg.data.stencils import files as stencil_files
from fastneg.data.stencils.render import render
from helpers.stencil_sets import SPEC


@pytest.mark.parametrize("size", [48, 64, 97, 224])
def test_jpegs_have_the_size_and_are_near_the_pixels(size):
    spec = StencilsSpec(size=size)
    for set_name in SETS:
        (jpeg, fields, _), *_ = stencils.samples(spec, set_name, 1)
        pixels, label, texture = render(spec, set_name, 0)
        assert fields == {"label": label, "texture": texture}
        assert pixels.shape == (size, size, 3) and pixels.dtype == np.uint8
        with Image.open(io.BytesIO(jpeg)) as image:
            assert image.format == "JPEG"
            assert np.abs(np.asarray(image).astype(float) - pixels).mean() < 6


def test_write_folder(tmp_path):
    spec = SPEC.replace(shapes=3)
    stencils.write_folder(spec, "swapped", 7, tmp_path / "swapped", workers=2)
    found = {
        str(path.relative_to(tmp_path / "swapped")): path.read_bytes()
        for path in (tmp_path / "swapped").rglob("*.jpg")
    }
    expected = {}
    for i, (jpeg, fields, _) in enumerate(stencils.samples(spec, "swapped", 7)):
        shape, texture = CLASSES[fields["label"]], CLASSES[fields["texture"]]
        expected[f"{shape}/{shape}{i // 3}-{texture}{i // 3}.jpg"] = jpeg
    assert found == expected
    stencils.write_folder(spec, "silhouette", 2, tmp_path / "silhouette")
    assert sorted(path.name for path in (tmp_path / "silhouette").iterdir()) == list(CLASSES[:3])


def test_write_beton(tmp_path):
    from fastneg.data import BetonReader

    spec = SPEC.replace(shapes=3)
    stencils.write_beton(spec, "swapped", 8, tmp_path / "swapped.beton")
    reader = BetonReader(tmp_path / "swapped.beton")
    expected = Counter(
        (jpeg, fields["label"]) for jpeg, fields, _ in stencils.samples(spec, "swapped", 8)
    )
    assert (
        Counter((reader.jpeg(i).tobytes(), int(reader.labels[i])) for i in range(len(reader)))
        == expected
    )
    assert "texture" in reader.fields


def _broken(*_):
    raise ArithmeticError("broken on purpose")


def test_what_a_worker_raises_reaches_the_caller(monkeypatch):
    monkeypatch.setattr(stencil_files, "render", _broken)
    with pytest.raises(ArithmeticError, match="on purpose"):
        list(stencils.samples(SPEC, "train", 200, workers=2))


def test_wrong_calls_are_refused_at_once():
    with pytest.raises(ValueError, match=r"validation.*swapped"):
        render(SPEC, "validation", 0)
    with pytest.raises(ValueError, match="index"):
        render(SPEC, "train", -1)
    with pytest.raises(ValueError, match="validation"):
        stencils.samples(SPEC, "validation", 1)
    with pytest.raises(ValueError, match="count"):
        stencils.samples(SPEC, "train", 0)
    with pytest.raises(ValueError, match="workers"):
        stencils.samples(SPEC, "train", 1, workers=-1)
    with pytest.raises(TypeError):
        StencilsSpec(colour="red")
    assert set(TEST_SETS) == set(SETS) - {"train"}
