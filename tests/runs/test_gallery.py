"""The gallery shows the pixels that the network saw."""

import io

import numpy as np
import torch
from PIL import Image

from fastneg.data.beton.reader import BetonReader
from fastneg.data.load.augmentation import IMAGENET_MEAN, IMAGENET_STD
from fastneg.data.load.batch import ViewBatch
from fastneg.runs.gallery import to_pixels, write_gallery


def normalised(pixels):
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - mean) / std


def test_pixels_come_back_exactly():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    assert np.array_equal(to_pixels(normalised(pixels)), pixels)
    # what lies outside is cut off, not wrapped
    assert to_pixels(normalised(pixels) * 100).max() == 255


def test_the_files_show_photo_views_and_negatives(beton, tmp_path):
    rng = np.random.default_rng(1)
    smooth = [
        np.asarray(
            Image.fromarray(rng.integers(0, 256, (3, 3, 3), dtype=np.uint8)).resize((24, 24))
        )
        for _ in range(12)
    ]
    query, key, negatives = (np.stack(smooth[i : i + n]) for i, n in ((0, 3), (3, 3), (6, 6)))
    index = torch.tensor([5, 0, 9])
    with BetonReader(beton) as reader:
        batch = ViewBatch(normalised(query), normalised(key), index, None)
        write_gallery(tmp_path, reader, batch, normalised(negatives).unflatten(0, (3, 2)), count=2)
        photo = Image.open(io.BytesIO(reader.jpeg(5).tobytes()))
        shown = Image.open(tmp_path / "gallery" / "0-image.jpg")
        assert shown.size == photo.size
        # encoded once more
        assert np.abs(np.asarray(shown, int) - np.asarray(photo, int)).mean() < 8
    names = {path.name for path in (tmp_path / "gallery").iterdir()}
    assert names == {
        f"{i}-{name}.jpg"
        for i in (0, 1)
        for name in ("image", "query", "key", "negative-0", "negative-1")
    }
    for name, expected in (
        ("0-query", query[0]),
        ("1-key", key[1]),
        ("1-negative-1", negatives[3]),
    ):
        found = np.asarray(Image.open(tmp_path / "gallery" / f"{name}.jpg"), int)
        assert np.abs(found - expected).mean() < 8
