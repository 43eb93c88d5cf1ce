"""The writer: pages, records, and files that are whole or absent.

What it writes is read in test_reader.py too.
"""

import errno
import os
import zlib

import numpy as np
import pytest

from fastneg.data import BetonError, BetonReader, BetonWriter
from fastneg.data.beton.format import HEADER
from fastneg.data.beton.sidecar import sidecar_path


def test_pages_grow_to_the_largest_sample(tmp_path):
    path, blobs = (
        tmp_path / "x.beton",
        [bytes([i + 1]) * size for i, size in enumerate((3000, 3000, 20000, 10, 40000, 5000))],
    )
    with BetonWriter(path, page_size=4096) as writer:
        for blob in blobs:
            writer.add(blob, 1, 1, label=0)
    data, page = path.read_bytes(), 65536
    assert np.frombuffer(data, HEADER, 1)[0]["page_size"] == page
    with BetonReader(path, verify=True) as reader:
        assert [reader.jpeg(i).tobytes() for i in range(6)] == blobs
    assert all(
        data.find(blob) // page == (data.find(blob) + len(blob) - 1) // page for blob in blobs
    )


def test_samples_in_the_way_of_the_records_move(tmp_path):
    path, rng = tmp_path / "x.beton", np.random.default_rng(1)
    # records of 96 kB, 3000 samples in 22 pages
    blobs = [rng.integers(0, 256, 30, dtype=np.uint8).tobytes() for _ in range(3000)]
    with BetonWriter(path, page_size=4096) as writer:
        for i, blob in enumerate(blobs):
            writer.add(blob, 1, 1, label=i)
    with BetonReader(path, verify=True) as reader:
        assert [reader.jpeg(i).tobytes() for i in range(3000)] == blobs
        assert reader.labels.tolist() == list(range(3000))


def test_paired_images_lie_with_their_sample(tmp_path):
    path, rng = tmp_path / "x.beton", np.random.default_rng(2)
    images, textures = (
        [rng.integers(0, 256, rng.integers(20, 900), dtype=np.uint8).tobytes() for _ in range(500)]
        for _ in range(2)
    )
    # records of 28 kB: samples in their way move
    with BetonWriter(path, page_size=4096, paired_fields=("texture",)) as writer:
        for i, (image, texture) in enumerate(zip(images, textures, strict=True)):
            if i == 7:
                writer.add_raw(
                    np.full((2, 3, 3), 9, np.uint8), label=i, paired={"texture": (texture, 4, 5)}
                )
            else:
                writer.add(image, 10, 11, label=i, paired={"texture": (texture, 20 + i, 30)})
        with pytest.raises(ValueError, match=r"paired fields \[\], \['texture'\] were expected"):
            writer.add(b"data", 1, 1, label=0)
        with pytest.raises(ValueError, match="height is 0"):
            writer.add(b"data", 1, 1, label=0, paired={"texture": (b"data", 0, 1)})
        with pytest.raises(ValueError, match="without bytes"):
            writer.add(b"data", 1, 1, label=0, paired={"texture": (b"", 1, 1)})
    data = path.read_bytes()
    with BetonReader(path, verify=True) as reader:
        assert reader.fields == ["image", "label", "texture"] and reader.image_fields == [
            "image",
            "texture",
        ]
        assert reader.labels.tolist() == list(range(500))
        for i, (image, texture) in enumerate(zip(images, textures, strict=True)):
            if i != 7:
                assert reader.jpeg(i).tobytes() == reader.encoded(i).tobytes() == image
                assert reader.sizes[i].tolist() == [10, 11] and reader.sizes_of("texture")[
                    i
                ].tolist() == [20 + i, 30]
            assert (
                reader.jpeg(i, field="texture").tobytes()
                == reader.encoded(i, field="texture").tobytes()
                == texture
            )
            one, two = (
                reader.stored(i, field).__array_interface__["data"][0]
                for field in ("image", "texture")
            )
            assert two == one + len(reader.stored(i))
            if i != 7:
                assert (
                    data.find(image) // 4096
                    == reader.pages[i]
                    == (data.find(image) + len(image + texture) - 1) // 4096
                )
        assert reader.checksums_of("texture").tolist() == [
            zlib.crc32(texture) for texture in textures
        ]
        reader.will_need(range(500), field="texture")
        with pytest.raises(
            BetonError, match="no image field 'depth'; its image fields: image, texture"
        ):
            reader.encoded(0, field="depth")


def test_names_that_are_no_text(tmp_path):
    with BetonWriter(tmp_path / "x.beton", page_size=4096) as writer:
        writer.add(b"data", 1, 1, label=0, name=os.fsdecode(b"caf\xe9.jpg"))
    assert BetonReader(tmp_path / "x.beton").names == ["caf\\udce9.jpg"]


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "x.beton"
    with BetonWriter(path, page_size=4096) as writer:
        writer.add(b"first", 1, 1, label=0)
    before = {file: file.read_bytes() for file in path.parent.iterdir()}
    assert set(before) == {path, sidecar_path(path)}

    def failed(work, error):
        with pytest.raises(error), BetonWriter(path, page_size=4096) as writer:
            work(writer)
        assert {file: file.read_bytes() for file in path.parent.iterdir()} == before

    def interrupt(writer):
        writer.add(b"second", 1, 1, label=0)
        raise KeyboardInterrupt

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    failed(interrupt, KeyboardInterrupt)
    failed(lambda writer: None, BetonError)  # no sample
    monkeypatch.setattr("fastneg.data.beton.publish.os.fsync", full)
    failed(lambda writer: writer.add(b"second", 1, 1, label=0), BetonError)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"int_fields": ("a" * 17,)}, "1 to 16 ASCII"),
        ({"int_fields": ("image",)}, "none of 'image'"),
        ({"paired_fields": ("image",)}, "none of 'image'"),
        (
            {"int_fields": ("label", "crc32")},
            "int field 'crc32': the writer keeps the checksums itself",
        ),
        ({"paired_fields": ("label",)}, "may occur once"),
        ({"int_fields": ("a", "a")}, "may occur once"),
        ({"page_size": 5000}, "power of two"),
        ({"page_size": 2048}, "power of two from 4096"),
    ],
)
def test_files_that_cannot_be(tmp_path, arguments, said):
    with pytest.raises(ValueError, match=said):
        BetonWriter(tmp_path / "x.beton", **arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"jpeg": b""}, "without bytes"),
        ({"height": 0}, "height is 0"),
        ({"width": 65536}, "width is 65536"),
        ({"label": 2**63}, "does not fit 64 bits"),
        ({"crc32": 5}, r"\['crc32', 'label'\], \['label'\] were expected"),
        ({"texture": 5}, r"\['label', 'texture'\]"),
    ],
)
def test_samples_that_cannot_be(tmp_path, arguments, said):
    with BetonWriter(tmp_path / "x.beton", page_size=4096) as writer:
        writer.add(b"data", 1, 1, label=0)
        with pytest.raises(ValueError, match=said):
            writer.add(**{"jpeg": b"data", "height": 1, "width": 1, "label": 0, **arguments})
        with pytest.raises(ValueError, match=r"\(3, 4\) float64"):
            writer.add_raw(np.zeros((3, 4)), label=0)
    assert len(BetonReader(tmp_path / "x.beton", verify=True)) == 1
    with pytest.raises(ValueError, match="not open"):
        writer.add(b"data", 1, 1, label=0)
