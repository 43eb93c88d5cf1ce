"""Reads the markers of a JPEG without decoding: its size, and the content of its header.

One walker, `segments`, goes from marker to marker and judges nothing. Three readers use it, each
as strict as its purpose asks: `size_by_header` (is DALI sure to read this header?), `jpeg_header`
(what would a decoder make of it?) and `check_markers` of jpeg_check.py (is anything missing?).

Source of the format: ITU-T T.81, annex B.
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from fastneg.data.errors import BetonError

SOI, EOI, SOS, DHT, TEM, APP1 = 0xD8, 0xD9, 0xDA, 0xC4, 0x01, 0xE1
RESTARTS = range(0xD0, 0xD8)
BASELINE, EXTENDED, PROGRESSIVE = COMMON_CODINGS = (0xC0, 0xC1, 0xC2)
"""Frames that every decoder knows."""
FRAMES = frozenset(range(0xC0, 0xD0)) - {DHT, 0xC8, 0xCC}
NO_SEGMENT = frozenset((0x00, 0xFF, TEM, *RESTARTS))
"""Behind a byte FF: 00 makes it a byte of coded data, another FF fills up, the others are markers
without a body."""
BETWEEN = frozenset(range(0xC0, 0xFF)) - FRAMES - {SOI, EOI, SOS, *RESTARTS}
"""What a decoder takes between the frame and the first scan, or passes over."""
SEGMENT = re.compile(rb"\xff[^\x00\xff\x01\xd0-\xd7]")
MARKER_AND_LENGTH = struct.Struct(">BBH")
BEGINNING, END = bytes((0xFF, SOI)), bytes((0xFF, EOI))
FRAME_BYTES, COMPONENT_BYTES = 8, 3
"""Of a frame's segment: before its components, and of each."""
FULL_CHROMA = "4:4:4"
"""The subsampling of images that no JPEG ever held: half the chroma of a PNG changes a tenth of a
network's answers."""
HALVED = ((0x22, 0x11, 0x11), (0x22, 0x11, 0x11, 0x22))
"""Sampling bytes of 4:2:0: YCbCr, and YCCK."""


def segments(data, at=2):
    """Yield (code, at, stop) of each segment, coded data passed over.

    `code` is the marker's second byte, `at` the place of its FF, `stop` the place behind the body,
    as its length field says. Nothing is judged: `stop` may lie behind the end of the data, and the
    start and end markers, which have no body, get a `stop` all the same. Bytes before a marker and
    markers without a body are passed over, as decoders do. A strict caller notices: the segment
    does not begin where the one before it stopped. Where no marker is left, the generator ends.

    Args:
        data: (bytes,) anything with a buffer of bytes.
        at: where to begin.
    """
    last = len(data) - MARKER_AND_LENGTH.size
    while at <= last:
        prefix, code, length = MARKER_AND_LENGTH.unpack_from(data, at)
        if prefix != 0xFF or code in NO_SEGMENT:
            if (found := SEGMENT.search(data, at)) is None:
                return
            at = found.start()
            continue
        stop = at + 2 + length
        yield code, at, stop
        at = stop
    # the last three bytes: the end marker, or a segment that was cut within its length
    if (found := SEGMENT.search(data, at)) is not None:
        at = found.start()
        yield data[at + 1], at, at + 2 + int.from_bytes(data[at + 2 :], "big")


def size_by_header(data):
    """(height, width) in pixels, if all segments up to the pixels are in order; else None: then ask
    a decoder.

    Why it must be known beforehand: an image whose *header* DALI cannot read ends the process with
    a segmentation fault where the batch has 32 images or more (DALI 2.4: the work of its other
    threads goes on with what the error has taken away). Damage behind the header is an exception,
    as it should be.

    Args:
        data: (bytes,) uint8 array.
    """
    data, size, expected = memoryview(data), None, 2
    if len(data) < 4 or data[0] != 0xFF or data[1] != SOI:
        return None
    for code, at, stop in segments(data):
        if at != expected or (stop < at + 4 and code != SOS):
            return None
        expected = stop
        if code in FRAMES:
            if size is not None or (size := _size_of_frame(data, code, at, stop)) is None:
                return None
        elif code not in BETWEEN:
            return size if code == SOS and at + 4 <= len(data) else None
    return None


def _size_of_frame(data, code, at, stop):
    """(height, width) of a frame that DALI is sure to read, or None."""
    if code not in COMMON_CODINGS or stop > len(data) or stop < at + 2 + FRAME_BYTES:
        return None
    precision, components = data[at + 4], data[at + 9]
    in_order = (
        precision == 8
        and components in (1, 3, 4)
        and stop == at + 2 + FRAME_BYTES + COMPONENT_BYTES * components
    )
    size = data[at + 5] << 8 | data[at + 6], data[at + 7] << 8 | data[at + 8]
    return size if in_order and 0 not in size else None


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
    data, orientation = bytes(data), 1
    if data[:2] != BEGINNING:
        raise BetonError("no JPEG: it does not begin with the bytes FF D8")
    for code, at, stop in segments(data):
        if at + 4 > len(data):
            break
        if code in (SOI, EOI, SOS) or stop < at + 4 or stop > len(data):
            raise BetonError("no whole JPEG: its markers are damaged before the frame header")
        body = data[at + 4 : stop]
        if code == APP1 and body[:6] == b"Exif\0\0":
            orientation = _exif_orientation(body[6:])
        if code in FRAMES:
            height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
            if len(body) < 6 or height == 0 or width == 0:
                raise BetonError(f"no usable JPEG: its frame header gives {width}×{height} pixels")
            sampling = tuple(body[7 : 6 + 3 * body[5] : 3])
            return JpegHeader(height, width, body[5], body[0], code, orientation, sampling)
    raise BetonError("no whole JPEG: it ends before the frame header")


def _exif_orientation(tiff):
    """The orientation tag of a TIFF block; 1 where there is none or it makes no sense, as decoders
    take it."""
    # Pillow reads it too, in five times the time and for an image that it can open: most images
    # pass through without it. The turning itself is Pillow's (`load_rgb`).
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
