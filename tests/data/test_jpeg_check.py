"""Whether a JPEG is all there by its markers: whole ones of every kind pass, damaged ones are
told."""

import contextlib
import io
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fastneg.data import BetonError
from fastneg.data.encode import prepare as module
from fastneg.data.encode.prepare import prepare
from fastneg.data.images import decoded_alone
from fastneg.data.jpeg_check import check_markers
from helpers.images import jpeg, photo, saved

RNG = np.random.default_rng(0)
PHOTO = photo(RNG, 60, 80)
PLAIN = jpeg(PHOTO)
PROGRESSIVE = saved(PHOTO, "JPEG", progressive=True)
RESTARTS = saved(PHOTO, "JPEG", restart_marker_blocks=3)


def segment(data, code):
    """(begin, end) of the first segment with a marker."""
    at = 2
    while data[at + 1] != code:
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at, at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def without(data, code):
    begin, end = segment(data, code)
    return data[:begin] + data[end:]


def changed(data, code, offset, value):
    """With another byte in the body of the first segment with a marker."""
    begin, _ = segment(data, code)
    return data[: begin + 4 + offset] + bytes([value]) + data[begin + 5 + offset :]


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize(
    "restarts",
    [{}, {"restart_marker_blocks": 1}, {"restart_marker_blocks": 3}, {"restart_marker_rows": 1}],
)
def test_whole_jpegs_pass(progressive, restarts):
    for height, width, subsampling, mode in itertools.product(
        (1, 8, 17, 33), (1, 16, 23, 40), (0, 1, 2), ("RGB", "L", "CMYK")
    ):
        image = Image.fromarray(photo(RNG, height, width)).convert(mode)
        data = saved(image, "JPEG", progressive=progressive, subsampling=subsampling, **restarts)
        check_markers(data)
        check_markers(data + b"\xff\xd8 a preview")
        with pytest.raises(BetonError):
            check_markers(data[:-1])


def test_restart_markers_are_really_there():  # else the test above would show nothing of them
    # 4×5 units of 16×16 pixels, three at a time
    assert sum(RESTARTS.count(bytes((0xFF, code))) for code in range(0xD0, 0xD8)) == 6


def test_fill_bytes_comments_and_bytes_between_segments_pass():
    begin, _ = segment(PLAIN, 0xDA)
    for between in (b"\xff" * 3, b"\xff\xfe\x00\x04hi", b"\xff\x01", b"lost"):
        check_markers(PLAIN[:begin] + between + PLAIN[begin:])
    check_markers(PLAIN[:-2] + b"\xff\xff" + PLAIN[-2:])
    check_markers(RESTARTS.replace(b"\xff\xd1", b"\xff\xff\xd1"))


BEGIN, END = segment(PLAIN, 0xDA)
SECOND_SCAN = PROGRESSIVE.index(b"\xff\xda", segment(PROGRESSIVE, 0xDA)[1])
RESTART = RESTARTS.index(b"\xff\xd1")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (PLAIN[:-2], r"its end marker \(FF D9\) is missing"),
        (PLAIN[:700] + bytes(len(PLAIN) - 700), r"its end marker \(FF D9\) is missing"),
        (PLAIN[: BEGIN + 5], "FF DA at byte .* says 12 bytes, 3 are there"),
        (PLAIN[:END] + PLAIN[-2:], "the scan at byte .* is empty"),
        (PLAIN[: END + 40] + b"\xff\x20" + PLAIN[END + 40 :], "FF 20 at byte .*, which no JPEG "
                                                              "holds there"),
        (PLAIN[:-2] + b"\xff\xd0" + PLAIN[-2:], None),  # some writers end a scan with one more
        (PLAIN[: END + 40] + b"\xff\xd1" + PLAIN[END + 40 :], "has 1 restart markers, 0 in turn "
                                                              "were expected"),
        (RESTARTS[:RESTART] + RESTARTS[RESTARTS.index(b"\xff\xd2") :],
         "has 5 restart markers, 6 in turn"),
        (RESTARTS[: RESTART + 1] + b"\xd0" + RESTARTS[RESTART + 2 :],
         "has 6 restart markers, 6 in turn"),
        (RESTARTS[:RESTART] + RESTARTS[-2:], "has 1 restart markers, 6 in turn"),
        (changed(RESTARTS, 0xDD, 1, 2), "has 6 restart markers, 9 in turn"),
        # all components have begun: a coarse picture, but a picture
        (PROGRESSIVE[:SECOND_SCAN] + PROGRESSIVE[-2:], None),
        (without(PLAIN, 0xC4), "needs the table DC 0, which is not there"),
        (without(PLAIN, 0xDB), "needs the table quantization 0, which is not there"),
        (without(PLAIN, 0xC0), "components that its frame does not have"),
        (without(PLAIN, 0xDA)[: BEGIN] + PLAIN[-2:], "it ends before its component 1 has a scan"),
        (PLAIN[:2] + PLAIN[-2:], "it ends before its frame"),
        (PLAIN[:END] + PLAIN[slice(*segment(PLAIN, 0xC0))] + PLAIN[END:],
         "the scan at byte .* is empty"),
        (PLAIN[:BEGIN] + PLAIN[slice(*segment(PLAIN, 0xC0))] + PLAIN[BEGIN:],
         "a second frame begins"),
        (changed(PLAIN, 0xC0, 5, 4), "the frame at byte .* has 15 bytes"),
        (changed(PLAIN, 0xC0, 7, 0x51), "components that cannot be"),
        (changed(PLAIN, 0xC0, 9, 1), "components that cannot be"),
        (changed(PLAIN, 0xDB, 0, 0x10), "the quantization table at byte .* has 65 bytes"),
        (changed(PLAIN, 0xC4, 1, 99), "the Huffman table at byte"),
        (changed(PLAIN, 0xDA, 0, 2), "the scan at byte .* has 10 bytes"),
        (changed(PLAIN, 0xDA, 1, 9), "components that its frame does not have"),
        (changed(RESTARTS, 0xDD, -1, 5), "the restart interval at byte .* has 3 bytes|says"),
    ],
)  # fmt: skip
def test_damage_is_told(data, said):
    if said is None:
        check_markers(data)
        return
    with pytest.raises(BetonError, match=said):
        check_markers(data)


@pytest.mark.parametrize(
    "data", [PLAIN, PROGRESSIVE, RESTARTS], ids=["baseline", "progressive", "restart markers"]
)
def test_every_cut_is_found(data):
    for size in range(2, len(data)):
        with pytest.raises(BetonError):
            check_markers(data[:size])


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    data=st.sampled_from([PLAIN, PROGRESSIVE, RESTARTS]),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6),
)
def test_any_bytes_pass_or_are_a_beton_error(data, changes):
    data = bytearray(data)
    for fraction, value in changes:
        data[2 + int(fraction * 700)] = value
    with contextlib.suppress(BetonError):
        check_markers(bytes(data))


def test_markers_alone_do_not_decode(monkeypatch):
    begin, _ = segment(PLAIN, 0xC4)
    # three codes of one bit cannot be: a decoder refuses the table
    counts = [3, *[0] * 14, sum(PLAIN[begin + 5 : begin + 21]) - 3]
    bad = PLAIN[: begin + 5] + bytes(counts) + PLAIN[begin + 21 :]
    with pytest.raises(BetonError):
        decoded_alone(bad)
    with pytest.raises(BetonError):
        prepare(bad)
    monkeypatch.setattr(module, "decoded_alone", None)
    assert prepare(bad, check="markers").jpeg is bad and prepare(PLAIN, check="markers") == (
        PLAIN,
        60,
        80,
        (),
        False,
    )
    with pytest.raises(BetonError, match="end marker"):
        prepare(PLAIN[:-700] + bytes(700), check="markers")


def test_what_is_encoded_again_is_checked_too():
    data = saved(Image.fromarray(PHOTO).convert("CMYK"), "JPEG", restart_marker_blocks=1)
    lost = data[: data.index(b"\xff\xd1")] + data[data.index(b"\xff\xd3") :]
    with Image.open(io.BytesIO(lost)) as image:
        image.load()  # a decoder says nothing
    with pytest.raises(BetonError, match="restart markers"):
        prepare(lost)
