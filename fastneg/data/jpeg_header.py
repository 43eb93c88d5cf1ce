"""The size of a JPEG by its header, without decoding it.

Why it must be known beforehand: an image whose *header* DALI cannot read ends the process with a segmentation fault where the batch has 32
images or more (DALI 2.4: the work of its other threads goes on with what the error has taken away). Damage behind the header is an
exception, as it should be.
"""

from __future__ import annotations

from fastneg.data.jpeg_markers import BASELINE, EOI, EXTENDED, FRAMES, PROGRESSIVE, SOI, SOS

PREFIX = 0xFF
DECODED = (BASELINE, EXTENDED, PROGRESSIVE)
FRAME_BYTES, COMPONENT_BYTES = 8, 3
"""Of a frame's segment: before its components, and of each."""


def size_by_header(data):
    """(height, width) in pixels, if all segments up to the pixels are in order; else None: then ask a decoder.

    Args:
        data: (bytes,) uint8 array.
    """
    data, size = memoryview(data), None
    end = len(data) - 4
    if end < 0 or data[0] != PREFIX or data[1] != SOI:
        return None
    at = 2
    while at <= end and data[at] == PREFIX:
        marker, length = data[at + 1], data[at + 2] << 8 | data[at + 3]
        if marker == SOS:
            return size
        if marker in (EOI, PREFIX) or marker < 0xC0 or length < 2 or 0xD0 <= marker <= 0xD8:
            return None
        if marker in FRAMES:
            if size is not None or marker not in DECODED or at + 2 + length > len(data) or length < FRAME_BYTES:
                return None
            precision, components = data[at + 4], data[at + 9]
            if precision != 8 or components not in (1, 3, 4) or length != FRAME_BYTES + COMPONENT_BYTES * components:
                return None
            size = data[at + 5] << 8 | data[at + 6], data[at + 7] << 8 | data[at + 8]
            if 0 in size:
                return None
        at += 2 + length
    return None
