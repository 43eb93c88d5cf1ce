"""fastneg bench checks: how many damaged JPEGs each check of `fastneg encode` finds."""

from __future__ import annotations

import io

import numpy as np

from fastneg.data.encode.prepare import prepare
from fastneg.data.errors import BetonError
from fastneg.data.images import decoded_alone
from fastneg.recipes.bench.photos import HEIGHT, WIDTH, photos

STRETCH = 4096  # bytes: a block of most file systems
KINDS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restart markers": {"restart_marker_rows": 1},
}
CHECKS = {
    "decode": lambda data: prepare(data, check="decode"),
    "markers": lambda data: prepare(data, check="markers"),
    "decoder alone": decoded_alone,
}
"""The two of `fastneg encode --check`; what a decoder (Pillow, libjpeg-turbo) alone says, as
--check decode walks the markers too."""


def _cut(data, rng):
    return data[: rng.integers(4, len(data))]


def _cut_and_closed(data, rng):
    return _cut(data, rng) + b"\xff\xd9"


def _end_zeroed(data, rng):
    keep = int(rng.integers(4, len(data)))
    return data[:keep] + bytes(len(data) - keep)


def _stretch(data, rng, fill):
    start = int(rng.integers(0, len(data) - STRETCH))
    return data[:start] + fill + data[start + STRETCH :]


def _bit_flipped(data, rng, stop=None):
    place = int(rng.integers(2, stop or len(data)))
    return data[:place] + bytes([data[place] ^ 1 << int(rng.integers(8))]) + data[place + 1 :]


DAMAGES = {
    "cut anywhere": _cut,
    "cut anywhere, end marker appended": _cut_and_closed,
    "zeros from anywhere to the end": _end_zeroed,
    "4096 bytes zeroed": lambda data, rng: _stretch(data, rng, bytes(STRETCH)),
    "4096 bytes random": lambda data, rng: _stretch(data, rng, rng.bytes(STRETCH)),
    "4096 bytes lost": lambda data, rng: _stretch(data, rng, b""),
    "a bit flipped": _bit_flipped,
    "a bit flipped before the pixels": lambda data, rng: _bit_flipped(
        data, rng, data.index(b"\xff\xda")
    ),
}


def bench_checks(files=500):
    """Yield a row per check, kind of JPEG and damage: of how many damaged files it says so.

    Each check gets the same files.
    """
    from PIL import Image

    decoded = [Image.open(io.BytesIO(data)).convert("RGB") for data, _ in photos(min(files, 64))]
    for kind, options in KINDS.items():
        whole = []
        for image in decoded:
            image.save(file := io.BytesIO(), "JPEG", quality=90, **options)
            whole.append(file.getvalue())
        for name, check in CHECKS.items():
            if wrong := sum(_finds(check, data) for data in whole):
                raise BetonError(f"the check {name} refuses {wrong} of {len(whole)} whole JPEGs.")
        for damage, make in DAMAGES.items():
            rng = np.random.Generator(np.random.PCG64(0))
            damaged = [make(whole[i % len(whole)], rng) for i in range(files)]
            for name, check in CHECKS.items():
                yield {
                    "bench": "checks",
                    "contender": name,
                    "jpeg": kind,
                    "damage": damage,
                    "height": HEIGHT,
                    "width": WIDTH,
                    "files": files,
                    "found_share": sum(_finds(check, data) for data in damaged) / files,
                }


def _finds(check, data):
    try:
        check(data)
    except BetonError:
        return True
    return False
