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
from fastneg.data.jpeg import BASELINE, EXTENDED, FRAMES, PROGRESSIVE, SOI, check_markers

COMMON_CODINGS = (BASELINE, EXTENDED, PROGRESSIVE)
"""Those that every decoder knows."""
BEGINNING = bytes((0xFF, SOI))
FULL_CHROMA = "4:4:4"
"""The subsampling of images that no JPEG ever held: half the chroma of a PNG changes a tenth of a
network's answers."""
HALVED = ((0x22, 0x11, 0x11), (0x22, 0x11, 0x11, 0x22))
"""Sampling bytes of 4:2:0: YCbCr, and YCCK."""


class JpegHeader(NamedTuple):
    height: int
    width: int
    components: int
    precision: int
    """Bits a sample."""
    coding: int
    """The frame marker's second byte: see COMMON_CODINGS."""
    orientation: int
    """EXIF orientation, 1 to 8."""
    sampling: tuple[int, ...] = ()
    """The sampling byte of each component: horizontal factor × 16 + vertical factor."""

    @property
    def chroma(self):
        """The subsampling to encode it with again: its own if that is 4:2:0 (or if it is gray),
        else 4:4:4."""
        return "4:2:0" if self.sampling in HALVED or self.components == 1 else FULL_CHROMA


def jpeg_header(data):
    """What the markers before the first scan of a JPEG say; BetonError if they make no JPEG.

    Source: ITU-T T.81, annex B; Exif 2.3, section 4.5.
    """
    data, at, orientation = bytes(data), 2, 1
    if data[:2] != BEGINNING:
        raise BetonError("no JPEG: it does not begin with the bytes FF D8")
    while True:
        at = data.find(b"\xff", at)
        while at >= 0 and data[at + 1 : at + 2] == b"\xff":
            at += 1
        if at < 0 or at + 4 > len(data):
            raise BetonError("no whole JPEG: it ends before the frame header")
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        at += 2
        if marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD7:  # these stand alone
            continue
        body = data[at + 2 : at + length]
        if marker in (0xD8, 0xD9, 0xDA) or length < 2 or len(body) != length - 2:
            raise BetonError("no whole JPEG: its markers are damaged before the frame header")
        if marker == 0xE1 and body[:6] == b"Exif\0\0":
            orientation = _exif_orientation(body[6:])
        if marker in FRAMES:
            height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
            if len(body) < 6 or height == 0 or width == 0:
                raise BetonError(f"no usable JPEG: its frame header gives {width}×{height} pixels")
            return JpegHeader(
                height,
                width,
                body[5],
                body[0],
                marker,
                orientation,
                tuple(body[7 : 6 + 3 * body[5] : 3]),
            )
        at += length


def _exif_orientation(tiff):
    """The orientation tag of a TIFF block; 1 where there is none or it makes no sense, as decoders
    take it."""
    order = {b"II*\0": "little", b"MM\0*": "big"}.get(tiff[:4])
    if order is None:
        return 1
    start = int.from_bytes(tiff[4:8], order)
    for number in range(int.from_bytes(tiff[start : start + 2], order)):
        entry = tiff[start + 2 + 12 * number :][:12]
        if len(entry) < 12:
            return 1
        if int.from_bytes(entry[:2], order) == 0x0112:
            value = int.from_bytes(entry[8:10], order)
            return value if int.from_bytes(entry[2:4], order) == 3 and 1 <= value <= 8 else 1
    return 1


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
