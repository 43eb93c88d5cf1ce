"""What the benchmarks of data read: random scenes that are about as heavy to decode as photographs,
the same ones each time."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from fastneg.data.encode.samples import encode_samples

HEIGHT, WIDTH = 416, 458


def write_photos(path, count, distinct=256, folder=None):
    """Write `photos` into a .beton file, and as files into class folders where a folder is given.

    Returns:
        dict as of `encode_samples`.
    """

    def samples():
        for number, (data, label) in enumerate(photos(count, distinct)):
            if folder is not None:
                write_file(folder, number, data, label)
            yield data, {"label": label}, str(number)

    return encode_samples(path, samples())


def write_file(folder, number, data, label):
    """Write one photo into the folder of its class; returns how many bytes it has."""
    path = folder / str(label) / f"{number}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.write_bytes(data)


def photos(count, distinct=256):
    """JPEG bytes of random scenes: smooth areas, edges and grain, about as heavy to decode as
    photographs; they repeat after `distinct`."""
    rng = np.random.default_rng(0)
    photos = []
    for i in range(count):
        if i < distinct:
            coarse, middle = (
                rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in (6, 40)
            )
            layers = [
                np.asarray(
                    Image.fromarray(layer).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC),
                    np.float32,
                )
                for layer in (coarse, middle)
            ]
            pixels = 0.7 * layers[0] + 0.3 * layers[1] + rng.normal(0, 6, (HEIGHT, WIDTH, 1))
            file = io.BytesIO()
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
            photos.append(file.getvalue())
        yield photos[i % distinct], i % 4
