"""The built-in set, from its statistics and from what independent classifiers can and cannot read
in it."""

from collections import Counter

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from fastneg.data import stencils
from fastneg.data.stencils import (
    CLASSES,
    NO_TEXTURE,
    SETS,
    TEXTURES,
    UNSEEN_TEXTURES,
    StencilsSpec,
)
from fastneg.data.stencils.render import render
from helpers.stencil_sets import SPEC, accuracy, drawn


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


def test_texture_only_covers_the_frame():
    for pixels, _, texture in zip(*drawn("texture_only", 48), strict=True):
        corners = [
            pixels[a : a + 16, b : b + 16].reshape(-1, 3).astype(float)
            for a in (0, 32)
            for b in (0, 32)
        ]
        if TEXTURES[texture] != "cow":  # its patches may be larger than a corner
            assert min(corner.std(axis=0).max() for corner in corners) > 8, TEXTURES[texture]


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


@pytest.mark.parametrize(
    "wrong",
    [{"size": 47}, {"size": 225}, {"size": 64.5}, {"shapes": 1}, {"shapes": len(CLASSES) + 1},
     {"rho": -0.1}, {"rho": 1.1}, {"rho": float("nan")}, {"seed": -1}, {"rho": "1"}],
)  # fmt: skip
def test_a_wrong_spec_is_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        StencilsSpec(**wrong)
