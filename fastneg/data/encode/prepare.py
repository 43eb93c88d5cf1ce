"""What is stored for an image file: its own bytes if they can be copied, otherwise the image
encoded again."""

from __future__ import annotations

from typing import NamedTuple

from fastneg.data.errors import BetonError
from fastneg.data.images import decoded_alone, jpeg_of, load_rgb, pillow
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
