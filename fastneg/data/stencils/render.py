"""One image of a set, from its own random stream: object, textures, tint, background."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fastneg.config import StencilsSpec as StencilsSpec
from fastneg.data.stencils.shapes import SHAPES
from fastneg.data.stencils.textures import TEXTURES as TEXTURE_FUNCTIONS
from fastneg.data.stencils.textures import UNSEEN_TEXTURES as UNSEEN_FUNCTIONS

CLASSES = tuple(SHAPES)
TEXTURES = tuple(TEXTURE_FUNCTIONS)
UNSEEN_TEXTURES = tuple(UNSEEN_FUNCTIONS)
TEST_SETS = (
    "in_domain",
    "decorrelated",
    "swapped",
    "unseen_texture",
    "flat_colour",
    "silhouette",
    "outline",
    "texture_only",
)
SETS = ("train", *TEST_SETS)
NO_TEXTURE = -1
SUPERSAMPLING = 2  # texture samples a pixel, along each axis


def render(spec, set_name, index):
    """Image `index` of a set. It depends on nothing but these arguments.

    Args:
        spec: StencilsSpec.
        set_name: "train" or one of TEST_SETS.
        index: 0 or more; label = index % spec.shapes, so any prefix of a set is balanced.
    Returns:
        pixels: (H, W, 3) uint8, RGB.
        label: int, position in CLASSES.
        texture: int, position in TEXTURES + UNSEEN_TEXTURES, or -1 where the object wears none.
    Raises:
        ValueError: no such set, or a negative index.
    """
    check_set(set_name)
    if index < 0:
        raise ValueError(f"index is {index}: images are counted from 0.")
    rng = np.random.default_rng([spec.seed, SETS.index(set_name), index])
    label, texture = _cues(spec, set_name, index, rng)
    size = spec.size
    if set_name == "texture_only":
        canvas = _textured(size, texture, rng)
    else:
        distance = _object(size, CLASSES[label], rng)
        coverage = np.clip(0.5 - distance, 0, 1)[..., None]
        if set_name == "silhouette":
            return _to_pixels(np.repeat(1 - coverage, 3, axis=2)), label, texture
        if set_name == "outline":
            stroke = np.clip(0.5 + size / 64 - np.abs(distance), 0, 1)[..., None]
            return _to_pixels(np.repeat(1 - stroke, 3, axis=2)), label, texture
        paint = _flat_colour(rng) if set_name == "flat_colour" else _textured(size, texture, rng)
        background = _background(size, rng)
        canvas = _occluded(background + coverage * (paint - background), rng)
    grain = rng.standard_normal((size, size, 3), np.float32)
    return _to_pixels(canvas + np.float32(0.012) * grain), label, texture


def check_set(set_name):
    if set_name not in SETS:
        raise ValueError(f"set_name is {set_name!r}: one of {', '.join(SETS)} was expected.")


def _cues(spec, set_name, index, rng):
    """Label and texture of an image."""
    label, turn = index % spec.shapes, index // spec.shapes
    if set_name in ("train", "in_domain"):
        own = rng.random() < spec.rho
        return label, label if own else int(rng.integers(spec.textures_used()))
    if set_name == "decorrelated":
        return label, (label + turn) % spec.textures_used()
    if set_name == "swapped":
        return label, (label + 1 + turn % (spec.shapes - 1)) % spec.shapes
    if set_name == "unseen_texture":
        return label, len(TEXTURES) + (label + turn) % len(UNSEEN_TEXTURES)
    return label, label if set_name == "texture_only" else NO_TEXTURE


@lru_cache(maxsize=8)
def _centres(count):
    """x and y of the centres of count × count samples of the frame, which spans -1..1 on both
    axes."""
    line = (np.arange(count, dtype=np.float32) + 0.5) * np.float32(2 / count) - 1
    return np.broadcast_to(line, (count, count)), np.broadcast_to(line[:, None], (count, count))


@lru_cache(maxsize=32)
def _enlarger(points, count):
    """(count, points) weights of smooth interpolation between `points` values spread evenly over
    the frame."""
    position = np.linspace(0, points - 1, count, dtype=np.float32)
    left = np.minimum(position.astype(int), points - 2)
    share = position - left
    share = share * share * (3 - 2 * share)
    weights = np.zeros((count, points), np.float32)
    weights[np.arange(count), left] = 1 - share
    weights[np.arange(count), left + 1] += share
    return weights


def _smooth(values, count):
    """(…, points, points) random values → (…, count, count) smooth fields."""
    weights = _enlarger(values.shape[-1], count)
    return weights @ values @ weights.T


def _object(size, shape, rng):
    """Signed distance in pixels to the outline of one object: mirrored, turned, scaled, shifted,
    and bent a little."""
    x, y = _centres(size)
    radius = rng.uniform(0.6, 0.82)
    shift = rng.uniform(-1, 1, 2) * 0.85 * (1 - radius)
    turn, mirror, aspect = (
        np.radians(rng.uniform(-40, 40)),
        rng.choice((-1, 1)),
        rng.uniform(0.9, 1.0),
    )
    cos, sin = np.float32(np.cos(turn) / radius), np.float32(np.sin(turn) / radius)
    bend_x, bend_y = _smooth(rng.uniform(-0.07, 0.07, (2, 5, 5)).astype(np.float32), size)
    x, y = x - np.float32(shift[0]), y - np.float32(shift[1])
    along = np.float32(mirror) * (x * cos + y * sin) + bend_x
    across = (y * cos - x * sin) / np.float32(aspect) + bend_y
    return SHAPES[shape](along, across, rng) * np.float32(radius * size / 2)


def _textured(size, texture, rng):
    """(H, W, 3) of a texture in two random tints."""
    count = SUPERSAMPLING * size
    x, y = _centres(count)
    half_periods = rng.uniform(3.2, 4.2)  # in half a frame
    turn = np.radians(rng.uniform(-40, 40))
    cos, sin = np.float32(half_periods * np.cos(turn)), np.float32(half_periods * np.sin(turn))
    # Patterns repeat after TABLE periods: a start well above 0 keeps every cell number positive.
    start_u, start_v = rng.uniform(16, 32, 2).astype(np.float32)
    bend_u, bend_v = _smooth(rng.uniform(-0.1, 0.1, (2, 6, 6)).astype(np.float32), count)
    u, v = x * cos + y * sin + start_u + bend_u, y * cos - x * sin + start_v + bend_v
    functions = {**TEXTURE_FUNCTIONS, **UNSEEN_FUNCTIONS}
    tone = functions[(TEXTURES + UNSEEN_TEXTURES)[texture]](
        u, v, np.float32(2 * half_periods / count), rng
    )
    tone = tone.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING).mean(axis=(1, 3))[..., None]
    dark, light = _tint(rng, 0.02, 0.3), _tint(rng, 0.72, 0.98)
    if rng.random() < 0.5:
        dark, light = light, dark
    return dark + tone * (light - dark)


def _tint(rng, lowest, highest):
    """(3,) a colour of any hue, of a brightness between two bounds."""
    hue = rng.standard_normal(3)
    hue = (hue - hue.mean()) / np.abs(hue - hue.mean()).max()
    return np.clip(rng.uniform(lowest, highest) + rng.uniform(0, 0.2) * hue, 0, 1).astype(
        np.float32
    )


def _flat_colour(rng):
    """(3,) a strong colour."""
    colour = rng.random(3)
    colour = (colour - colour.min()) / (colour.max() - colour.min())
    low, high = rng.uniform(0, 0.35), rng.uniform(0.75, 1)
    return (low + (high - low) * colour).astype(np.float32)


def _background(size, rng):
    """(H, W, 3) smooth, nearly grey."""
    light = rng.uniform(0.38, 0.62) + rng.uniform(-0.1, 0.1, (1, 4, 4))
    values = (light + rng.uniform(-0.05, 0.05, (3, 4, 4))).astype(np.float32)
    return _smooth(values, size).transpose(1, 2, 0)


def _occluded(canvas, rng):
    """The canvas, in half of all cases behind a grey bar: it hides part of the object and carries
    no cue."""
    if rng.random() < 0.5:
        return canvas
    size = len(canvas)
    x, y = _centres(size)
    bearing, offset, middle = (
        rng.uniform(0, np.pi),
        rng.uniform(-0.55, 0.55),
        rng.uniform(-0.5, 0.5),
    )
    half_width, half_length = rng.uniform(0.05, 0.1), rng.uniform(0.35, 0.8)
    cos, sin = np.float32(np.cos(bearing)), np.float32(np.sin(bearing))
    across, along = (
        np.abs(x * cos + y * sin - np.float32(offset)),
        np.abs(y * cos - x * sin - np.float32(middle)),
    )
    outside = np.maximum(
        across - np.float32(half_width), along - np.float32(half_length)
    ) * np.float32(size / 2)
    coverage = np.clip(0.5 - outside, 0, 1)[..., None]
    grey = np.float32(rng.uniform(0.3, 0.7)) + rng.uniform(-0.04, 0.04, 3).astype(np.float32)
    return canvas + coverage * (grey - canvas)


def _to_pixels(canvas):
    """0..1 → uint8."""
    return (np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8)
