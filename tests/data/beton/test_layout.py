"""Where the parts of a .beton file lie; what cannot be is refused in test_fuzz.py and
test_reader.py."""

import numpy as np
import pytest

from fastneg.data import BetonError, BetonReader, BetonWriter
from fastneg.data.beton.format import DESCRIPTOR, HEADER
from fastneg.data.beton.layout import read_layout
from helpers.images import jpeg, photo

RNG = np.random.default_rng(0)
IMAGES = [jpeg(photo(RNG, 8, 8 + i)) for i in range(5)]


@pytest.fixture
def data(tmp_path):
    with BetonWriter(
        tmp_path / "x.beton", ("label", "camera"), paired_fields=("texture",)
    ) as writer:
        for i, image in enumerate(IMAGES):
            pair = {"texture": np.full((2, 3, 3), i, np.uint8)}
            writer.add(image, 8, 8 + i, label=i % 2, camera=-i, paired=pair)
    return (tmp_path / "x.beton").read_bytes()


def test_all_parts_are_found(data):
    layout = read_layout("x.beton", data)
    assert layout.kinds == {"image": "image", "label": "int", "camera": "int", "texture": "image"}
    assert layout.image_fields == ["image", "texture"] and layout.page_size == 8 << 20
    assert layout.ints["camera"].tolist() == [0, -1, -2, -3, -4]
    record = 13 + 3 + 8 + 8 + 13 + 3  # two packed images, each filled up, and two ints
    assert layout.data_start == HEADER.itemsize + 4 * DESCRIPTOR.itemsize + 5 * record
    main, pair = layout.images["image"], layout.images["texture"]
    assert [data[a:b] for a, b in zip(main.start, main.stop, strict=True)] == IMAGES
    assert main.sizes.tolist() == [[8, 8 + i] for i in range(5)] and not main.raw.any()
    assert [b - a for a, b in zip(pair.start, pair.stop, strict=True)] == [18] * 5
    assert pair.raw.all() and len(pair.checksums) == 5


def test_it_is_named_in_what_is_said(data):
    with pytest.raises(
        BetonError, match=r"^some\.beton has 12000 bytes, more than \d+ were expected"
    ):
        read_layout("some.beton", data[:12000])


def test_the_reader_tells_what_the_layout_does(data, tmp_path):
    layout = read_layout("x.beton", data)
    with BetonReader(tmp_path / "x.beton") as reader:
        assert reader.kinds == layout.kinds and reader.image_fields == layout.image_fields
        assert reader.sizes_of("texture").tolist() == layout.images["texture"].sizes.tolist()
