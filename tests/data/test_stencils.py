"""The built-in set, from its statistics and from what independent classifiers can and cannot read
in it (fastneg.data.stencils.render, fastneg.data.stencils.shapes, fastneg.data.stencils.textures,
fastneg.data.stencils.files)."""

import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from fastneg.data import stencils
from fastneg.data.stencils import (
    CLASSES,
    NO_TEXTURE,
    SETS,
    TEST_SETS,
    TEXTURES,
    UNSEEN_TEXTURES,
    StencilsSpec,
)
from fastneg.data.stencils import files as stencil_files
from fastneg.data.stencils.render import render
from fastneg.data.stencils.shapes import SHAPES
from fastneg.data.stencils.textures import TEXTURES as FUNCTIONS
from fastneg.data.stencils.textures import UNSEEN_TEXTURES as UNSEEN_FUNCTIONS

SPEC = StencilsSpec(size=48)


def drawn(set_name, count, spec=SPEC):
    pixels, labels, textures = zip(
        *(render(spec, set_name, index) for index in range(count)), strict=True
    )
    return np.stack(pixels), np.array(labels), np.array(textures)


def accuracy(features, labels, model):
    half = len(labels) // 2
    return model.fit(features[:half], labels[:half]).score(features[half:], labels[half:])


def test_names_are_distinct_and_numbered_as_folders_would_number_them():
    assert list(CLASSES) == sorted(set(CLASSES)) and len(CLASSES) >= 12
    assert len(set(TEXTURES) | set(UNSEEN_TEXTURES)) == len(TEXTURES) + len(UNSEEN_TEXTURES)
    assert len(TEXTURES) >= len(CLASSES) and len(UNSEEN_TEXTURES) >= 4


@pytest.mark.parametrize("set_name", SETS)
def test_bytes_do_not_depend_on_count_or_workers(set_name):
    alone = list(stencils.samples(SPEC, set_name, 3))
    # three chunks, the last one short
    together = list(stencils.samples(SPEC, set_name, 130, workers=2))
    assert together[:3] == alone
    assert [fields["label"] for _, fields, _ in together] == [
        index % SPEC.shapes for index in range(130)
    ]
    assert len({name for _, _, name in together}) == 130
    assert len({jpeg for jpeg, _, _ in together}) == 130


def test_seed_set_and_index_each_change_the_image():
    images = [
        render(spec, set_name, index)[0].tobytes()
        for spec in (SPEC, SPEC.replace(seed=1))
        for set_name in ("train", "in_domain")
        for index in (0, SPEC.shapes)
    ]
    assert len(set(images)) == len(images)


def test_train_and_in_domain_share_no_image():
    train, test = (
        {jpeg for jpeg, _, _ in stencils.samples(SPEC, name, 200)}
        for name in ("train", "in_domain")
    )
    assert not train & test


@pytest.mark.parametrize("rho", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("set_name", ["train", "in_domain"])
def test_own_texture_comes_as_often_as_rho_says(rho, set_name):
    spec, count = SPEC.replace(rho=rho, shapes=4), 1200
    _, labels, textures = drawn(set_name, count, spec)
    expected = rho + (1 - rho) / 4
    assert abs((labels == textures).mean() - expected) <= 4 * np.sqrt(
        expected * (1 - expected) / count
    )
    others = Counter(
        zip(labels[labels != textures].tolist(), textures[labels != textures].tolist(), strict=True)
    )
    mean = count * (1 - rho) / 16
    assert all(abs(others[pair] - mean) <= 5 * np.sqrt(mean) for pair in others)
    assert len(others) == (0 if rho == 1 else 12)


def test_cues_of_each_test_set():
    n = SPEC.shapes
    _, labels, textures = drawn("swapped", 2 * n * (n - 1))
    assert not (labels == textures).any()
    # every conflict equally often
    assert set(Counter(zip(labels.tolist(), textures.tolist(), strict=True)).values()) == {2}
    _, labels, textures = drawn("decorrelated", n * n)
    assert set(Counter(zip(labels.tolist(), textures.tolist(), strict=True)).values()) == {1}
    _, labels, textures = drawn("texture_only", 3 * n)
    assert (labels == textures).all()
    _, _, textures = drawn("unseen_texture", 3 * n)
    assert set(textures) == set(range(len(TEXTURES), len(TEXTURES) + len(UNSEEN_TEXTURES)))
    for name in ("flat_colour", "silhouette", "outline"):
        assert (drawn(name, n)[2] == NO_TEXTURE).all()


def called_textures(monkeypatch, set_name, count=40):
    called = set()

    def watched(name, function):
        def call(*arguments):
            called.add(name)
            return function(*arguments)

        return call

    for functions in (FUNCTIONS, UNSEEN_FUNCTIONS):
        for name, function in list(functions.items()):
            monkeypatch.setitem(functions, name, watched(name, function))
    drawn(set_name, count)
    return called


def test_unseen_set_draws_no_training_texture_and_training_no_unseen_one(monkeypatch):
    assert called_textures(monkeypatch, "unseen_texture") == set(UNSEEN_TEXTURES)
    monkeypatch.undo()
    assert called_textures(monkeypatch, "train") <= set(TEXTURES[: SPEC.shapes])
    monkeypatch.undo()
    assert called_textures(monkeypatch, "flat_colour") == set()


def test_silhouettes_are_black_on_white():
    pixels = drawn("silhouette", 36)[0]
    assert (pixels == pixels[..., :1]).all()
    grey = (pixels > 0) & (pixels < 255)
    assert grey.mean() < 0.12  # the outline's one pixel of transition
    flat = pixels[..., 0].astype(int)
    spread = np.stack([np.roll(flat, shift, axis) for axis in (1, 2) for shift in (-1, 0, 1)])
    inner = (spread.max(0) - spread.min(0) == 0) & grey[..., 0]
    assert not inner.any()  # no grey area away from an outline
    share = (flat == 0).mean(axis=(1, 2))
    assert (share > 0.03).all() and (share < 0.6).all()


def test_outlines_are_strokes_around_a_white_inside():
    strokes = drawn("outline", 36)[0]
    assert (strokes == strokes[..., :1]).all()
    dark = (strokes[..., 0] < 128).mean(axis=(1, 2))
    assert (dark < 0.25).all() and (dark > 0.02).all()
    assert (dark < 0.8 * (drawn("silhouette", 36)[0][..., 0] < 128).mean()).mean() > 0.5


@pytest.mark.parametrize("name", CLASSES)
def test_shapes_lie_in_the_unit_circle_and_are_distances_near_the_outline(name):
    """The truth is the distance to the nearest change of sign on a fine raster.

    Strokes and anti-aliasing rely on it, and a seam where two parts of a shape meet would show as a
    stroke inside.
    """
    step = 0.02
    line = np.arange(-1.3, 1.3, step, dtype=np.float32)
    x, y = np.meshgrid(line, line)
    for seed in range(3):
        distance = SHAPES[name](x, y, np.random.default_rng(seed))
        inside = distance < 0
        assert inside.mean() > 0.08 and np.hypot(x, y)[inside].max() < 1.08
        change = np.zeros_like(inside)
        change[:, 1:] |= inside[:, 1:] != inside[:, :-1]
        change[1:] |= inside[1:] != inside[:-1]
        near = np.abs(distance) < 0.06
        truth = (
            np.hypot(
                *(np.argwhere(near)[:, None] - np.argwhere(change)[None]).transpose(2, 0, 1)
            ).min(1)
            * step
        )
        error = np.abs(truth - np.abs(distance[near]))
        assert np.percentile(error, 90) < 2 * step and error.max() < 0.1


def test_texture_only_covers_the_frame():
    for pixels, _, texture in zip(*drawn("texture_only", 48), strict=True):
        corners = [
            pixels[a : a + 16, b : b + 16].reshape(-1, 3).astype(float)
            for a in (0, 32)
            for b in (0, 32)
        ]
        if TEXTURES[texture] != "cow":  # its patches may be larger than a corner
            assert min(corner.std(axis=0).max() for corner in corners) > 8, TEXTURES[texture]


def test_shapes_can_be_told_apart_by_their_silhouettes():
    spec = SPEC.replace(shapes=16)
    pixels, labels, _ = drawn("silhouette", 1600, spec)
    features = np.stack([_moments(255 - image[..., 0].astype(float)) for image in pixels])
    # chance: 0.0625
    assert accuracy(features, labels, RandomForestClassifier(100, random_state=0)) > 0.8


def _moments(mass):
    """Radial profile about the centroid and its angular harmonics, unmoved by shift and turn."""
    mass = mass / mass.sum()
    y, x = np.mgrid[: len(mass), : len(mass)]
    x, y = x - (mass * x).sum(), y - (mass * y).sum()
    radius, bearing = np.hypot(x, y), np.arctan2(y, x)
    scale = np.sqrt((mass * radius**2).sum())
    ring = np.minimum((radius / scale * 5).astype(int), 9)
    features = []
    for harmonic in range(7):
        wave = mass * np.exp(1j * harmonic * bearing)
        features.extend(np.abs([wave[ring == k].sum() for k in range(10)]))
    return features


def test_textures_can_be_told_apart_by_their_power_spectra():
    spec = SPEC.replace(shapes=16, size=64)
    pixels, labels, _ = drawn("texture_only", 800, spec)
    assert (
        accuracy(
            np.stack([_spectrum(image) for image in pixels]),
            labels,
            RandomForestClassifier(100, random_state=0),
        )
        > 0.7
    )


def _spectrum(pixels):
    """Power by frequency, whatever the direction, and the histogram of grey levels, both free of
    contrast and polarity."""
    grey = pixels.mean(axis=2)
    grey = (grey - grey.mean()) / grey.std()
    power = (
        np.abs(
            np.fft.fftshift(
                np.fft.fft2(grey * np.hanning(len(grey))[:, None] * np.hanning(len(grey)))
            )
        )
        ** 2
    )
    y, x = np.mgrid[: len(grey), : len(grey)] - len(grey) // 2
    rings = np.minimum(np.hypot(x, y).astype(int), 24)
    profile = np.bincount(rings.ravel(), power.ravel()) / power.sum()
    peak = [power[rings == k].max() / power.sum() for k in range(25)]
    skew, tails = abs((grey**3).mean()), (grey**4).mean()
    return np.log(np.concatenate([profile, peak, [skew, tails]]) + 1e-6)


@pytest.mark.parametrize("set_name", ["train", "unseen_texture", "flat_colour"])
def test_the_background_carries_no_cue(set_name):
    pixels, labels, _ = drawn(set_name, 1440)
    corners = np.concatenate(
        [pixels[:, a, b] for a in (slice(3), slice(-3, None)) for b in (slice(3), slice(-3, None))],
        axis=1,
    )
    features = corners.reshape(len(labels), -1) / 255.0
    chance, half = 1 / SPEC.shapes, len(labels) // 2
    allowed = chance + 4 * np.sqrt(chance * (1 - chance) / half)
    assert accuracy(features, labels, LogisticRegression(max_iter=200)) < allowed
    assert accuracy(features, labels, RandomForestClassifier(60, random_state=0)) < allowed


def test_mean_colour_names_no_class():
    pixels, labels, _ = drawn("decorrelated", 1440)
    means = pixels.reshape(len(labels), -1, 3).mean(axis=1) / 255.0
    assert accuracy(means, labels, LogisticRegression(max_iter=500)) < 2 / SPEC.shapes


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


@pytest.mark.parametrize(
    "wrong",
    [{"size": 47}, {"size": 225}, {"size": 64.5}, {"shapes": 1}, {"shapes": len(CLASSES) + 1},
     {"rho": -0.1}, {"rho": 1.1}, {"rho": float("nan")}, {"seed": -1}, {"rho": "1"}],
)  # fmt: skip
def test_a_wrong_spec_is_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        StencilsSpec(**wrong)


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
