"""Sizes by the header against Pillow; and what passes must never be a header that DALI refuses: in
a large batch that ends the process."""

import io

import numpy as np
import pytest
from nvidia.dali import fn, pipeline_def, types
from PIL import Image

from fastneg.data.jpeg import size_by_header
from helpers.images import jpeg, photo, rotated, saved

PICTURE = Image.fromarray(photo(np.random.default_rng(0), 24, 40))
KINDS = {
    "colour": jpeg(np.asarray(PICTURE)),
    "gray": saved(PICTURE.convert("L"), "JPEG"),
    "CMYK": saved(PICTURE.convert("CMYK"), "JPEG"),
    "progressive": saved(PICTURE, "JPEG", progressive=True),
    "EXIF": rotated(PICTURE, 6),
    "comment": saved(PICTURE, "JPEG", comment=b"a word"),
    "restarts": saved(PICTURE, "JPEG", restart_marker_blocks=2, subsampling=0),
    "1×1": saved(PICTURE.resize((1, 1)), "JPEG"),
}


def size_of(data):
    return size_by_header(np.frombuffer(data, np.uint8))


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_size_that_pillow_reads(kind):
    opened = Image.open(io.BytesIO(KINDS[kind]))
    assert size_of(KINDS[kind]) == (opened.height, opened.width)


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff", b"\xff\xd8\xff\xd9", b"no image at all", saved(PICTURE, "PNG"), bytes(1000)],
)
def test_what_is_no_jpeg_has_none(data):
    assert size_of(data) is None


def test_a_header_without_its_end_has_none():
    data = KINDS["colour"]
    pixels = data.index(b"\xff\xda")
    assert all(size_of(data[:end]) is None for end in range(pixels)) and size_of(data[: pixels + 4])


@pipeline_def(
    exec_dynamic=True, batch_size=1, num_threads=1, device_id=None, prefetch_queue_depth=1
)
def decoding():
    encoded = fn.external_source(name="encoded", dtype=types.UINT8, ndim=1, no_copy=True)
    return fn.decoders.image(encoded, device="cpu", output_type=types.RGB, adjust_orientation=False)


def refusal(data):
    """What DALI says of an image, or None."""
    pipe = decoding()
    pipe.build()
    pipe.feed_input("encoded", [np.frombuffer(data, np.uint8)])
    try:
        pipe.run()
    except RuntimeError as error:
        return str(error)
    return None


def test_whatever_passes_dali_reads_the_header_of():
    """Bytes of headers set, flipped, removed, added, cut.

    Damage behind the header is an error that names a sample: that is no harm.
    """
    rng, passed = np.random.default_rng(1), 0
    for number in range(500):
        data = bytearray(list(KINDS.values())[number % len(KINDS)])
        header = data.index(b"\xff\xda") + 14
        for _ in range(rng.integers(1, 4)):
            at, kind = int(rng.integers(header)), rng.integers(5)
            if kind == 0:
                data[at : at + 1] = bytes([rng.choice([0, 1, 255])])
            elif kind == 1:
                data[at : at + 1] = bytes(
                    byte ^ 1 << int(rng.integers(8)) for byte in data[at : at + 1]
                )
            elif kind == 2:
                del data[at : at + int(rng.integers(1, 20))]
            elif kind == 3:
                data[at:at] = rng.bytes(int(rng.integers(1, 20)))
            else:
                marker = data.find(b"\xff", at)
                data[marker + 1 : marker + 4] = rng.bytes(3)
        size = size_of(bytes(data))
        if size is None or size[0] * size[1] > 10**6:
            continue
        passed += 1
        said = refusal(bytes(data))
        assert said is None or "Failed to decode sample" in said, (bytes(data), said)
    assert passed > 60
