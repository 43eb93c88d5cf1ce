"""One image file: its header, whether it passes through, and how it is encoded again."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from fastneg.data import BetonError
from fastneg.data.encode.prepare import prepare
from fastneg.data.images import decoded_size, load_rgb
from fastneg.data.jpeg import jpeg_header
from helpers.images import jpeg, photo, rotated, saved

RNG = np.random.default_rng(0)
PHOTO = photo(RNG, 60, 80)
# Without fine grain, so that JPEG loses next to nothing and a difference means a fault.
SMOOTH = np.asarray(
    Image.fromarray(RNG.integers(0, 256, (3, 4, 3), dtype=np.uint8)).resize(
        (80, 60), Image.Resampling.BICUBIC
    )
)
FLAT = RNG.integers(0, 256, (2, 2, 3), dtype=np.uint8).repeat(32, 0).repeat(32, 1)


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(bytes(data))).convert("RGB")).astype(int)


def error(data, expected):
    """Mean difference of a JPEG from the pixels it should show, of 255."""
    return abs(pixels(data) - np.asarray(expected).astype(int)).mean()


# --- JPEG headers ---------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    mode=st.sampled_from(["L", "RGB", "CMYK"]),
    orientation=st.integers(0, 9),
    options=st.fixed_dictionaries(
        {
            "progressive": st.booleans(),
            "optimize": st.booleans(),
            "quality": st.sampled_from([5, 50, 100]),
        }
    ),
    comment=st.binary(max_size=300),
    fill=st.integers(0, 3),
)
def test_headers_say_what_pillow_says(height, width, mode, orientation, options, comment, fill):
    exif = Image.Exif()
    exif[0x010E] = "a description before it"
    exif[0x0112] = orientation
    data = saved(Image.new(mode, (width, height)), "JPEG", exif=exif, comment=comment, **options)
    data = data[:2] + b"\xff" * fill + data[2:]  # fill bytes may stand before any marker
    with Image.open(io.BytesIO(data)) as image:
        expected = (
            image.height,
            image.width,
            len(image.getbands()),
            8,
            0xC2 if options["progressive"] else 0xC0,
        )
    assert jpeg_header(data)[:5] == expected
    assert jpeg_header(data).orientation == (orientation if 1 <= orientation <= 8 else 1)


@pytest.mark.parametrize("order", ["II", "MM"])
def test_both_byte_orders_of_exif(order):
    number = lambda value, size: value.to_bytes(size, "little" if order == "II" else "big")
    tag = number(0x0112, 2) + number(3, 2) + number(1, 4) + number(6, 2) + bytes(2)
    tiff = order.encode() + number(42, 2) + number(8, 4) + number(1, 2) + tag + bytes(4)
    body = b"Exif\0\0" + tiff
    data = jpeg(PHOTO)
    data = data[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + data[2:]
    assert jpeg_header(data).orientation == 6 == Image.open(io.BytesIO(data)).getexif()[0x0112]


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6),
    keep=st.floats(0, 1),
    decode=st.booleans(),
)
def test_any_bytes_give_a_header_or_a_beton_error(changes, keep, decode):
    data = bytearray(rotated(SMOOTH, 6) if decode else jpeg(PHOTO))
    for fraction, value in changes:
        data[int(fraction * min(len(data), 700))] = value  # where the markers are
    data = bytes(data[: int(keep * len(data)) + 1])
    try:
        header = jpeg_header(data)
        assert header.height > 0 and header.width > 0 and 1 <= header.orientation <= 8
        if decode:
            again, height, width, *_ = prepare(data)
            assert decoded_size(again) == (height, width)
    except BetonError:
        pass


# --- one image ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        jpeg(PHOTO),
        saved(PHOTO, "JPEG", progressive=True),
        saved(Image.fromarray(PHOTO).convert("L"), "JPEG"),
        jpeg(PHOTO[:1, :1]),
        rotated(SMOOTH, 1),
    ],
    ids=["baseline", "progressive", "gray", "1x1", "upright"],
)
def test_jpeg_bytes_pass_through_untouched(data):
    assert prepare(data, max_side=80) == (data, *Image.open(io.BytesIO(data)).size[::-1], (), False)


@pytest.mark.parametrize(
    ("data", "expected", "reason"),
    [
        (saved(SMOOTH, "PNG"), SMOOTH, "png"),
        (saved(SMOOTH, "WEBP", lossless=True), SMOOTH, "webp"),
        (saved(SMOOTH, "BMP"), SMOOTH, "bmp"),
        (saved(Image.fromarray(FLAT).quantize(4), "PNG"), FLAT, "png"),
        (saved(np.dstack([SMOOTH, SMOOTH[..., 0]]), "PNG"), SMOOTH, "png"),
        (saved(SMOOTH[..., 0].astype(np.uint16) * 256, "PNG"), SMOOTH[..., :1].repeat(3, 2), "png"),
        (saved(Image.fromarray(SMOOTH).convert("CMYK"), "JPEG", quality=95), SMOOTH, "cmyk"),
        (rotated(SMOOTH, 3), SMOOTH[::-1, ::-1], "exif rotation"),
        (rotated(SMOOTH, 6), np.rot90(SMOOTH, -1), "exif rotation"),
        (rotated(SMOOTH, 8), np.rot90(SMOOTH), "exif rotation"),
        (rotated(SMOOTH, 2), SMOOTH[:, ::-1], "exif rotation"),
    ],
    ids=[
        "png",
        "webp",
        "bmp",
        "palette",
        "alpha",
        "16 bit",
        "cmyk",
        "180",
        "90",
        "270",
        "mirrored",
    ],
)
def test_what_must_change_is_encoded_again(data, expected, reason):
    again, height, width, why, _ = prepare(data, quality=95)
    header = jpeg_header(again)
    assert why == (reason,) and (header.height, header.width, header.components) == (
        height,
        width,
        3,
    ) == (*expected.shape[:2], 3)
    assert error(again, expected) < 3
    assert prepare(again) == (again, height, width, (), False)


def test_large_images_are_scaled_down():
    large = np.asarray(Image.fromarray(SMOOTH).resize((150, 300)))
    for data, reason in (
        (jpeg(large), ("over max_side",)),
        (saved(large, "PNG"), ("png", "over max_side")),
    ):
        again, height, width, why, _ = prepare(data, max_side=100)
        assert (height, width, why) == (100, 50, reason) and decoded_size(again) == (100, 50)
        assert error(again, Image.fromarray(large).resize((50, 100), Image.Resampling.LANCZOS)) < 3
    turned = rotated(Image.fromarray(large).convert("CMYK"), 6)
    assert prepare(turned, max_side=100)[1:4] == (
        50,
        100,
        ("cmyk", "exif rotation", "over max_side"),
    )
    assert prepare(jpeg(photo(RNG, 1, 300)), max_side=100)[1:3] == (1, 100)  # no side becomes 0


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        jpeg(PHOTO)[:-300],
        jpeg(PHOTO)[:100],
        saved(PHOTO, "PNG")[:-300],
        b"text",
        saved(Image.new("F", (4, 4)), "TIFF"),
    ],
    ids=["empty", "start only", "truncated", "header only", "truncated png", "text", "float"],
)
def test_what_cannot_be_decoded_is_refused(data, monkeypatch):
    # a program that is lenient elsewhere changes nothing here
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(BetonError):
        prepare(data)
    assert ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize("most", [1, 255, 4095])
def test_sixteen_bits_of_which_few_are_used_are_no_black_image(most):
    """Eight bits, or a camera's twelve, in a file of sixteen."""
    values = np.linspace(0, most, 64 * 64).astype(np.uint16).reshape(64, 64)
    with pytest.raises(BetonError, match=f"its values go up to {most} of 65535"):
        load_rgb(saved(values, "PNG"))


def test_sixteen_bits_that_are_black_stay_so():
    for value in (0, 4096):
        image, _ = load_rgb(saved(np.full((8, 8), value, np.uint16), "PNG"))
        assert np.asarray(image).max() == value >> 8
