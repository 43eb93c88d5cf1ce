"""Small images for tests: photos with structure, and the bytes of their files."""

import io

import numpy as np
from PIL import Image


def photo(rng, height, width):
    """(height, width, 3) uint8 with structure at several scales, so that JPEG, crops and colours
    all have something to show."""
    coarse = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    fine = rng.integers(-30, 30, (height, width, 3))
    smooth = np.asarray(
        Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    ).astype(int)
    return np.clip(smooth + fine, 0, 255).astype(np.uint8)


def jpeg(pixels, quality=92):
    """JPEG bytes of an (H, W, 3) uint8 array."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return file.getvalue()


def saved(image, kind, **options):
    """An image file's bytes, of a PIL image or an array."""
    file = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(file, kind, **options)
    return file.getvalue()


def rotated(image, orientation):
    """JPEG bytes with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(image, "JPEG", quality=95, exif=exif)
