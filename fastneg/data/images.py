"""Image files decoded, by Pillow: what cannot be decoded, or not to the end, is a BetonError."""

from __future__ import annotations

import contextlib
import io
import re
import warnings

import numpy as np

from fastneg.data.errors import BetonError
from fastneg.data.jpeg import BEGINNING, COMMON_CODINGS, FULL_CHROMA, jpeg_header
from fastneg.data.jpeg_check import check_markers

DARK = 1 << 12
"""An image of 16 bits that stays below holds 12 or fewer, as of many cameras and scanners: all but
the upper four of these would be lost."""


def jpeg_of(image, quality, chroma=FULL_CHROMA):
    """The JPEG bytes of a Pillow image; BetonError if it cannot be one, as with a side above 65,500
    pixels."""
    file = io.BytesIO()
    with readable():
        image.save(file, "JPEG", quality=quality, subsampling=chroma)
    return file.getvalue()


def decoded_size(data):
    """(height, width) of an image that is all there: every byte is decoded, and a JPEG's markers
    are walked; BetonError if that fails."""
    size = decoded_alone(data)
    if data[:2] == BEGINNING and jpeg_header(data).coding in COMMON_CODINGS:
        check_markers(data)
    return size


def decoded_alone(data):
    """(height, width) of an image of which every byte was decoded.

    Decoders make something of much that is damaged: see `decoded_size`.
    """
    with readable(), pillow().open(io.BytesIO(data)) as image:
        width, height = image.size
        # All bytes are still parsed, but a JPEG's pixels are made at an eighth of the size, which
        # is several times faster.
        image.draft("L", (max(1, width // 8), max(1, height // 8)))
        image.load()
        return height, width


def load_rgb(data):
    """(upright RGB image, format) of an image file's bytes, by Pillow; BetonError if they cannot be
    decoded."""
    with readable(), pillow().open(io.BytesIO(data)) as image:
        from PIL import ImageOps

        kind = image.format
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):  # 16 bits: Pillow would clip at 255 instead of scaling
            wide = np.asarray(image).astype(np.int64)
            if wide.min() < 0 or wide.max() > 65535:
                raise BetonError(
                    f"its values go from {wide.min()} to {wide.max()}: 16 bits were expected"
                )
            if 0 < wide.max() < DARK:
                raise BetonError(
                    f"its values go up to {wide.max()} of 65535: read as 16 bits it would be "
                    "black, or nearly so. Save it with 8 bits, or scaled to all 16"
                )
            image = pillow().fromarray((wide >> 8).astype(np.uint8))
        elif image.mode == "F":
            raise BetonError("it holds floating-point values, whose scale is unknown")
        return image.convert("RGB"), kind


@contextlib.contextmanager
def readable():
    """Within it, Pillow decodes strictly, and whatever a decoder raises becomes a BetonError that
    says why."""
    from PIL import ImageFile

    lenient, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except BetonError:
        raise
    except Exception as error:
        # decoders raise OSError, SyntaxError, struct.error, zlib.error, and more by version
        # an address says nothing
        said = re.sub(
            r" <_io\.BytesIO[^>]*>", "", f"{type(error).__name__}: {error}".splitlines()[0]
        )
        raise BetonError(said) from error
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = lenient


def pillow():
    try:
        from PIL import Image
    except ImportError as error:
        raise BetonError(
            "Pillow is missing: images cannot be read. Install the extra: pip install "
            "'fastneg[train]'."
        ) from error
    return Image


def guarded(work, *arguments):
    """work(*arguments), or a text that says why it cannot be."""
    try:
        return work(*arguments)
    except (BetonError, OSError) as error:
        return str(error)
