"""One walker, three readers: what `size_by_header`, `jpeg_header` and `check_markers` each make of
the same oddity between the segments."""

import numpy as np
import pytest

from fastneg.data.errors import BetonError
from fastneg.data.jpeg import jpeg_header, segments, size_by_header
from fastneg.data.jpeg_check import check_markers

# A gray JPEG of 8×8 pixels, by hand: tables, frame, scan and two bytes of coded data.
QUANTIZATION = b"\xff\xdb\x00\x43\x00" + bytes([1] * 64)
HUFFMAN = b"".join(
    b"\xff\xc4\x00\x14" + bytes([kind]) + b"\x01" + bytes(15) + b"\x00" for kind in (0x00, 0x10)
)
FRAME = b"\xff\xc0\x00\x0b\x08\x00\x08\x00\x08\x01\x01\x11\x00"
SCAN = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"
TABLES = QUANTIZATION + HUFFMAN
SIZE = (8, 8)


def jpeg(before=b"", tables=TABLES, frame=FRAME, scan=SCAN, coded=b"\x3f\x3f", end=b"\xff\xd9"):
    return b"\xff\xd8" + before + tables + frame + scan + coded + end


def read(data):
    """What the three say: a size, a size, and whether it is whole."""
    try:
        header = jpeg_header(data)[:2]
    except BetonError:
        header = None
    try:
        check_markers(data)
        whole = True
    except BetonError:
        whole = False
    return size_by_header(np.frombuffer(data, np.uint8)), header, whole


CASES = {
    "in order": (jpeg(), (SIZE, SIZE, True)),
    "an unknown marker of the right form": (jpeg(b"\xff\x42\x00\x02"), (None, SIZE, False)),
    "fill bytes": (jpeg(b"\xff\xff"), (None, SIZE, True)),
    "other bytes": (jpeg(b"junk\xff\x00"), (None, SIZE, True)),
    "a marker that stands alone": (jpeg(b"\xff\x01\xff\xd3"), (None, SIZE, True)),
    "a second start": (jpeg(b"\xff\xd8"), (None, None, False)),
    "an end before the frame": (jpeg(b"\xff\xd9"), (None, None, False)),
    "a length of 1": (jpeg(b"\xff\xe0\x00\x01"), (None, None, False)),
    "a length beyond the end": (jpeg(b"\xff\xe0\xff\xff"), (None, None, False)),
    "no frame": (jpeg(frame=b""), (None, None, False)),
    "two frames": (jpeg(frame=FRAME + FRAME), (None, SIZE, False)),
    "twelve bits": (jpeg(frame=FRAME.replace(b"\x0b\x08", b"\x0b\x0c")), (None, SIZE, True)),
    "no rows": (jpeg(frame=FRAME.replace(b"\x08\x00\x08", b"\x08\x00\x00")), (None, None, True)),
    "a scan without length": (jpeg(scan=b"\xff\xda\x00\x00"), (SIZE, SIZE, False)),
    "no scan": (jpeg(scan=b"", coded=b""), (None, SIZE, False)),
    "no end": (jpeg(end=b""), (SIZE, SIZE, False)),
    "half an end": (jpeg(end=b"\xff"), (SIZE, SIZE, False)),
    "nothing behind the start": (b"\xff\xd8", (None, None, False)),
    "cut within the first length": (b"\xff\xd8\xff\xe0\x00", (None, None, False)),
}


@pytest.mark.parametrize("case", CASES)
def test_each_reader_is_as_strict_as_its_purpose(case):
    data, expected = CASES[case]
    assert read(data) == expected


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_the_walker_tells_places_and_judges_nothing(kind):
    data = jpeg(b"..\xff\xff\xd0", coded=b"\xff\x00\xff\xd1")
    found = list(segments(kind(data)))
    assert [f"{code:02X}" for code, _, _ in found] == ["DB", "C4", "C4", "C0", "DA", "D9"]
    assert all(data[at] == 0xFF and data[at + 1] == code for code, at, _ in found)
    ends = [at for _, at, _ in found[1:4]]
    assert [stop for _, _, stop in found[:3]] == ends
    assert list(segments(data[:2] + b"\xff\xe0\xff\xff")) == [(0xE0, 2, 4 + 0xFFFF)]
