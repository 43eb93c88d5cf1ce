"""Shapes of the built-in set: within the unit circle, told apart by their silhouettes."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from fastneg.data.stencils import (
    CLASSES,
)
from fastneg.data.stencils.shapes import SHAPES
from helpers.stencil_sets import SPEC, accuracy, drawn


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
