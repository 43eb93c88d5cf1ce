"""One image file: what its header says, whether its bytes can pass through, and how it is decoded
where they cannot."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from typing import NamedTuple

import numpy as np

from fastneg.data.beton.reader import BetonError
from fastneg.data.jpeg import BEGINNING, COMMON_CODINGS, FULL_CHROMA, jpeg_header
from fastneg.data.jpeg_check import check_markers


def why_change(header, max_side=None):
    """Why a JPEG cannot pass through untouched: a tuple of a word or two for each reason.

    Gray JPEGs can: decoders make them RGB.
    """
    reasons = []
    if header.components not in (1, 3):
        reasons.append("cmyk" if header.components == 4 else f"{header.components} components")
    if header.coding not in COMMON_CODINGS or header.precision != 8:
        reasons.append("rare coding")
    if header.orientation != 1:
        reasons.append("exif rotation")
    if max_side is not None and max(header.height, header.width) > max_side:
        reasons.append("over max_side")
    return tuple(reasons)


class Prepared(NamedTuple):
    """An image as it is stored."""

    jpeg: bytes
    """The bytes of a JPEG; with `raw` those of the pixels, height × width × 3."""
    height: int
    width: int
    changes: tuple[str, ...]
    """Why it was encoded again; empty if its bytes are those of the file."""
    raw: bool = False
    """Whether it is stored as pixels and not as a JPEG."""


def prepare(data, max_side=None, quality=90, check="decode", lossless=False):
    """An image file's bytes → `Prepared`: untouched, or encoded again where that must be.

    A JPEG that is encoded again keeps its chroma subsampling or gets a better one; every other
    image keeps its chroma whole (4:4:4).

    Args:
        check: of a JPEG that stays untouched: "decode": its markers are walked and every byte is
            decoded; "markers": the former alone.
        lossless: pixels in place of a JPEG for what cannot stay untouched; `quality` has no effect
            then.
    Raises:
        BetonError: the image is not all there.
    """
    changes, chroma = None, FULL_CHROMA
    if data[:2] == BEGINNING:
        header = jpeg_header(data)
        changes, chroma = why_change(header, max_side), header.chroma
        if header.coding in COMMON_CODINGS:
            check_markers(data)
        if not changes:
            if check == "decode" and decoded_alone(data) != (header.height, header.width):
                raise BetonError("two decoders disagree on its size")
            return Prepared(data, header.height, header.width, ())
    image, kind = load_rgb(data)
    if changes is None:
        changes = (
            kind.lower(),
            *(["over max_side"] if max_side is not None and max(image.size) > max_side else []),
        )
    if max_side is not None and max(image.size) > max_side:
        scale = max_side / max(image.size)
        image = image.resize(
            [max(1, round(side * scale)) for side in image.size], pillow().Resampling.LANCZOS
        )
    if lossless:
        return Prepared(image.tobytes(), image.height, image.width, changes, raw=True)
    return Prepared(jpeg_of(image, quality, chroma), image.height, image.width, changes)


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
