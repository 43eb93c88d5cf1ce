"""Textures of two tones, each a function `(u, v, soft, rng) -> tone`.

u, v: float32 arrays of points in units of the texture's period. soft: width in periods over which
an edge goes from one tone to the other, one sample of the raster. tone: float32 in 0..1. `rng`
draws what is random about this specimen.
"""

from __future__ import annotations

import numpy as np

TABLE = 64  # cells after which the random patterns repeat: far more than a picture holds


def _off(t):
    """Signed distance to the nearest integer, in -0.5..0.5."""
    return t - np.round(t)


def _edge(distance, soft):
    """1 where the distance is positive, 0 where it is negative, a ramp between."""
    return np.clip(distance / soft + 0.5, 0, 1)


def _bands(t, soft, width=0.5):
    """Bands of `width` around each integer."""
    return _edge(width / 2 - np.abs(_off(t)), soft)


def _look_up(table, column, row):
    return table[row.astype(np.int32) % TABLE, column.astype(np.int32) % TABLE]


def _smooth_noise(u, v, rng):
    """Value noise, one lattice point a period, in 0..1."""
    table = rng.random((TABLE, TABLE), np.float32)
    column, row = np.floor(u), np.floor(v)
    a, b = u - column, v - row
    a, b = a * a * (3 - 2 * a), b * b * (3 - 2 * b)
    upper = _look_up(table, column, row) * (1 - a) + _look_up(table, column + 1, row) * a
    lower = _look_up(table, column, row + 1) * (1 - a) + _look_up(table, column + 1, row + 1) * a
    return upper * (1 - b) + lower * b


def _two_nearest(u, v, rng, spread=0.4):
    """Distances to the nearest and the second nearest of a jittered lattice of points, one a
    period."""
    shifts = rng.uniform(0.5 - spread, 0.5 + spread, (2, TABLE, TABLE)).astype(np.float32)
    column, row = np.floor(u), np.floor(v)
    first = np.full(u.shape, np.inf, np.float32)
    second = first.copy()
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            at_u, at_v = (_look_up(shift, column + i, row + j) for shift in shifts)
            squared = (column + i + at_u - u) ** 2 + (row + j + at_v - v) ** 2
            second = np.minimum(second, np.maximum(first, squared))
            first = np.minimum(first, squared)
    return np.sqrt(first), np.sqrt(second)


def _honeycomb_cell(u, v):
    """Offset of each point from the nearest point of a triangular lattice with spacing 1."""
    height = np.float32(np.sqrt(3))
    x1, y1 = _off(u), height * _off(v / height)
    x2, y2 = _off(u + 0.5), height * _off(v / height + 0.5)
    nearer = x1 * x1 + y1 * y1 < x2 * x2 + y2 * y2
    return np.where(nearer, x1, x2), np.where(nearer, y1, y2)


def stripes(u, v, soft, rng):
    return _bands(u, soft)


def checks(u, v, soft, rng):
    a, b = _bands(0.75 * u, 0.75 * soft), _bands(0.75 * v, 0.75 * soft)
    return a * b + (1 - a) * (1 - b)


def dots(u, v, soft, rng):
    return _edge(0.32 - np.hypot(*_honeycomb_cell(u, v)), soft)


def bricks(u, v, soft, rng):
    rows = 1.5 * v
    gaps = np.minimum(np.abs(_off(rows)) / 1.5, 1.6 * np.abs(_off(u / 1.6 + 0.5 * np.floor(rows))))
    # The rows meet halfway between two rounded values: the joints of each row belong to
    # floor(rows).
    return _edge(gaps - 0.08, soft)


def zigzag(u, v, soft, rng):
    return _bands(v + 1.1 * np.abs(_off(0.7 * u)), 1.3 * soft)


def grid(u, v, soft, rng):
    return _edge(np.minimum(np.abs(_off(0.9 * u)), np.abs(_off(0.9 * v))) / 0.9 - 0.09, soft)


def cow(u, v, soft, rng):
    noise = _smooth_noise(0.75 * u, 0.75 * v, rng)
    return _edge(noise - 0.5, soft)


def cracks(u, v, soft, rng):
    first, second = _two_nearest(0.8 * u, 0.8 * v, rng)
    return _edge(second - first - 0.12, soft)


def wood(u, v, soft, rng):
    across, along = rng.uniform(1.0, 5.0), rng.uniform(-2.0, 2.0)
    radius = np.hypot(u - across, 0.45 * (v - along)) + 0.5 * _smooth_noise(0.6 * u, 0.25 * v, rng)
    phase = radius - np.floor(radius)
    return np.minimum(phase, (1 - phase) * 6)


def scales(u, v, soft, rng):
    rows = 2 * v
    arc = np.hypot(_off(u + 0.5 * np.floor(rows)), 0.5 * (rows - np.floor(rows)))
    return _edge(np.abs(arc - 0.45) - 0.07, soft)


def weave(u, v, soft, rng):
    cell = np.floor(0.6 * u) + np.floor(0.6 * v)
    return _bands(np.where(cell % 2 == 0, 1.8 * u, 1.8 * v), 1.8 * soft)


def grain(u, v, soft, rng):
    return _look_up(rng.random((TABLE, TABLE), np.float32), np.floor(6 * u), np.floor(6 * v))


def pluses(u, v, soft, rng):
    x, y = np.abs(_off(u)), np.abs(_off(v))
    return _edge(np.maximum(np.minimum(0.36 - x, 0.11 - y), np.minimum(0.11 - x, 0.36 - y)), soft)


def speckle(u, v, soft, rng):
    return _edge(0.2 - _two_nearest(u, v, rng, 0.45)[0], soft)


def honeycomb(u, v, soft, rng):
    x, y = map(np.abs, _honeycomb_cell(u, v))
    return _edge(0.42 - np.maximum(x, 0.5 * x + np.float32(np.sqrt(0.75)) * y), soft)


def dashes(u, v, soft, rng):
    rows = 1.7 * v
    shift = rng.random(TABLE, np.float32)[np.round(rows).astype(np.int32) % TABLE]
    return np.minimum(_bands(rows, 1.7 * soft, 0.5), _bands(0.55 * u + shift, 0.55 * soft, 0.6))


def labyrinth(u, v, soft, rng):
    bearings, phases = rng.uniform(0, np.pi, 12), rng.uniform(0, 2 * np.pi, 12)
    factors = np.stack([7 * np.cos(bearings), 7 * np.sin(bearings), phases], axis=1).astype(
        np.float32
    )
    return _edge(sum(np.cos(a * u + b * v + c) for a, b, c in factors) / 17, soft)


def plaid(u, v, soft, rng):
    def band(t):
        return 0.7 * _bands(0.6 * t, 0.6 * soft) + 0.3 * _bands(0.6 * t + 0.5, 0.6 * soft, 0.14)

    return 0.5 * (band(u) + band(v))


def rings(u, v, soft, rng):
    return _edge(0.1 - np.abs(np.hypot(*_honeycomb_cell(0.8 * u, 0.8 * v)) - 0.3), 0.8 * soft)


def triangles(u, v, soft, rng):
    slant = np.float32(np.sqrt(0.75))
    parity = 1
    for line in (u, 0.5 * u + slant * v, -0.5 * u + slant * v):
        parity = parity * (2 * _edge(0.25 - np.abs(_off(0.45 * line + 0.25)), 0.45 * soft) - 1)
    return 0.5 + 0.5 * parity


# The texture at position i is the own texture of the shape at position i.
TEXTURES = {
    family.__name__: family
    for family in (
        stripes, checks, dots, bricks, zigzag, grid, cow, cracks, wood, scales, weave, grain,
        pluses, speckle, honeycomb, dashes,
    )
}  # fmt: skip
UNSEEN_TEXTURES = {family.__name__: family for family in (labyrinth, plaid, rings, triangles)}
