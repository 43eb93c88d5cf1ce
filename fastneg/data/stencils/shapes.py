"""Shape families as signed distances: negative inside, positive outside, 0 on the outline.

Each family is a function `(x, y, rng) -> distance` on float32 arrays of points, x to the right and
y down. The canonical shape fits the unit circle; `rng` draws the proportions of this one specimen.
"""

from __future__ import annotations

import numpy as np


def _polygon(x, y, vertices):
    """Exact signed distance to a simple polygon, vertices (V, 2) in order."""
    a = np.asarray(vertices, np.float32)
    b = np.roll(a, -1, axis=0)
    edge = b - a
    dx, dy = x.ravel()[None] - a[:, :1], y.ravel()[None] - a[:, 1:]
    along = np.clip((dx * edge[:, :1] + dy * edge[:, 1:]) / (edge**2).sum(1, keepdims=True), 0, 1)
    squared = ((dx - along * edge[:, :1]) ** 2 + (dy - along * edge[:, 1:]) ** 2).min(0)
    # A point is inside when a ray from it crosses the outline an odd number of times.
    above_a, above_b = dy >= 0, dy >= edge[:, 1:]
    left = (edge[:, :1] * dy > edge[:, 1:] * dx) ^ (edge[:, 1:] < 0)
    inside = ((above_a != above_b) & ~left).sum(0) % 2 == 1
    return np.where(inside, -1, 1).reshape(x.shape) * np.sqrt(squared).reshape(x.shape)


def _jittered(vertices, rng, amount=0.05):
    """Polygon vertices, each moved by up to `amount`."""
    vertices = np.asarray(vertices, np.float32)
    return vertices + rng.uniform(-amount, amount, vertices.shape).astype(np.float32)


def _turned(vertices, turns):
    """Copies of a chain of vertices, one for each of `turns` equal turns about the origin, joined
    into one polygon."""
    angles = np.arange(turns) * 2 * np.pi / turns
    rotations = np.array([[[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]] for a in angles])
    return (np.asarray(vertices)[None] @ rotations).reshape(-1, 2)


def _box(x, y, half_width, half_height):
    dx, dy = np.abs(x) - half_width, np.abs(y) - half_height
    return np.hypot(np.maximum(dx, 0), np.maximum(dy, 0)) + np.minimum(np.maximum(dx, dy), 0)


def angle(x, y, rng):
    thick = rng.uniform(0.42, 0.52)
    left, right, top, bottom = -0.66, 0.66, -0.78, 0.78
    corners = [
        (left, top),
        (left + thick, top),
        (left + thick, bottom - thick),
        (right, bottom - thick),
        (right, bottom),
        (left, bottom),
    ]
    return _polygon(x, y, _jittered(corners, rng, 0.04))


def arrow(x, y, rng):
    shaft, head, neck = rng.uniform(0.18, 0.26), rng.uniform(0.58, 0.7), rng.uniform(0.0, 0.15)
    upper = [(0.98, 0), (neck, head), (neck, shaft), (-0.95, shaft)]
    return _polygon(x, y, _jittered(upper + [(a, -b) for a, b in upper[:0:-1]], rng, 0.03))


def bolt(x, y, rng):
    corners = [(0.48, -0.92), (-0.68, 0.2), (-0.12, 0.2), (-0.48, 0.92), (0.68, -0.2), (0.12, -0.2)]
    return _polygon(x, y, _jittered(corners, rng, 0.05))


def crescent(x, y, rng):
    shift, hollow = rng.uniform(0.38, 0.5), rng.uniform(0.72, 0.8)
    radius, y = 0.92, np.abs(y)
    tip_x = (radius**2 - hollow**2 + shift**2) / (2 * shift)
    tip_y = np.sqrt(radius**2 - tip_x**2)
    beyond = x * tip_y - y * tip_x > shift * np.maximum(tip_y - y, 0)
    arcs = np.maximum(np.hypot(x, y) - radius, hollow - np.hypot(x - shift, y))
    return np.where(beyond, np.hypot(x - tip_x, y - tip_y), arcs)


def cross(x, y, rng):
    across, along = rng.uniform(0.22, 0.32, 2), rng.uniform(0.82, 0.92, 2)
    return np.minimum(_box(x, y, along[0], across[0]), _box(x, y, across[1], along[1]))


def ellipse(x, y, rng):
    short = rng.uniform(0.55, 0.75)
    # First-order distance: the implicit function over the length of its gradient.
    level = np.hypot(x, y / short)
    return level * (level - 0.95) / np.maximum(np.hypot(x, y / short**2), 1e-6)


def heart(x, y, rng):
    spread = rng.uniform(0.36, 0.42)
    lobe = spread + rng.uniform(0.05, 0.1)
    x, top, tip = np.abs(x), -0.28, 0.88
    notch = top - np.sqrt(lobe**2 - spread**2)
    # The side is the tangent from the tip to the lobe, at this bearing from the vertical and of
    # this length.
    reach = np.hypot(spread, tip - top)
    bearing, length = (
        np.arctan2(spread, tip - top) + np.arcsin(lobe / reach),
        np.sqrt(reach**2 - lobe**2),
    )
    cos, sin = np.float32(np.cos(bearing)), np.float32(np.sin(bearing))
    side, along = x * cos - (tip - y) * sin, x * sin + (tip - y) * cos
    below = ((y - notch) * spread > x * (top - notch)) & (along < length)
    return np.where(
        below, np.maximum(side, -np.hypot(x, y - notch)), np.hypot(x - spread, y - top) - lobe
    )


def hourglass(x, y, rng):
    wide, waist, tall = rng.uniform(0.58, 0.7), rng.uniform(0.08, 0.14), 0.78
    corners = [(-wide, -tall), (wide, -tall), (waist, 0), (wide, tall), (-wide, tall), (-waist, 0)]
    return _polygon(x, y, _jittered(corners, rng, 0.05))


def ring(x, y, rng):
    thick = rng.uniform(0.3, 0.42)
    return np.abs(np.hypot(x, y) - (0.93 - thick / 2)) - thick / 2


def square(x, y, rng):
    side = rng.uniform(0.64, 0.7)
    return _polygon(
        x, y, _jittered([(-side, -side), (side, -side), (side, side), (-side, side)], rng, 0.05)
    )


def star(x, y, rng):
    inner = rng.uniform(0.36, 0.44)
    turn = np.pi / 5
    return _polygon(
        x,
        y,
        _jittered(_turned([(0, -1), (inner * np.sin(turn), -inner * np.cos(turn))], 5), rng, 0.03),
    )


def triangle(x, y, rng):
    return _polygon(x, y, _jittered([(0, -0.92), (0.84, 0.58), (-0.84, 0.58)], rng, 0.07))


def umbrella(x, y, rng):
    rim, stick = rng.uniform(0.05, 0.15), rng.uniform(0.1, 0.14)
    canopy = np.maximum(np.hypot(x, y - rim) - 0.95, y - rim)
    shaft, hook = np.maximum(np.abs(x), -y), np.abs(np.hypot(x - 0.22, y - 0.67) - 0.22)
    handle = np.minimum(np.where(y > 0.67, hook, shaft), np.hypot(x - 0.44, y - 0.67))
    return np.minimum(canopy, handle - stick)


def wedge(x, y, rng):
    half = rng.uniform(0.5, 0.7)  # of the mouth, in radians
    mouth = np.abs(y) * np.cos(half) - (x + 0.1) * np.sin(half)
    return np.maximum(np.hypot(x, y) - 0.92, -mouth)


def windmill(x, y, rng):
    width = rng.uniform(0.6, 0.7)
    return _polygon(
        x, y, _jittered(_turned([(0.04, -0.12), (0.04, -0.95), (width, -0.65)], 4), rng, 0.03)
    )


def wye(x, y, rng):
    half = rng.uniform(0.2, 0.27)
    arms = []
    for bearing in np.array([90, 210, 330]) + rng.uniform(-8, 8, 3):
        c, s = np.cos(np.radians(bearing)), np.sin(np.radians(bearing))
        arms.append(_box(x * c + y * s - 0.39, y * c - x * s, 0.53, half))
    return np.minimum.reduce(arms)


# In alphabetical order, so that labels are the same whether classes are numbered here or by the
# names of their folders.
SHAPES = {
    family.__name__: family
    for family in (
        angle, arrow, bolt, crescent, cross, ellipse, heart, hourglass, ring, square, star,
        triangle, umbrella, wedge, windmill, wye,
    )
}  # fmt: skip
