"""FFCV's standard loop, `for images, labels in loader`, on our files: it sees no checksums.

Serves fastneg.data.beton.checksum_block; FFCV works in a process of its own (conftest.py).
"""

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from fastneg.config import EncodeConfig, VerifyConfig
from fastneg.data import BetonReader, BetonWriter, open_data
from fastneg.data.beton.verify import verify
from fastneg.data.encode.encode import encode
from helpers.ffcv_calls import default_loop, standard_loop
from helpers.images import jpeg, photo

RNG = np.random.default_rng(0)
SIDE, COUNT = 40, 8


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(bytes(data))).convert("RGB")).astype(int)


def close(image, data):
    """FFCV decodes a JPEG in a coarser way than Pillow."""
    return abs(image.astype(int) - pixels(data)).mean() < 2


def folder(tmp_path):
    for i in range(COUNT):
        path = tmp_path / "src" / "ab"[i % 2] / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(photo(RNG, SIDE, SIDE), quality=95))
    return str(tmp_path / "src")


def old_file(path):
    """A file as earlier versions wrote it: the checksums are an int field."""
    blobs = [jpeg(photo(RNG, SIDE, SIDE)) for _ in range(COUNT)]
    with BetonWriter(path, ("label", "crc32"), checksums=False) as writer:
        for i, blob in enumerate(blobs):
            writer.add(blob, SIDE, SIDE, label=i, crc32=zlib.crc32(blob))
    return blobs


@pytest.mark.parametrize("writer", ["passthrough", "ffcv"])
def test_the_standard_loop_gives_images_and_labels(tmp_path, ffcv, writer):
    out = tmp_path / "x.beton"
    encode(EncodeConfig(folder(tmp_path), str(out), writer=writer, workers=1))
    (tmp_path / "x.beton.json").unlink()  # the file alone is enough, and keeps its checksums
    with BetonReader(out, verify=True) as reader:
        assert reader.fields == ["image", "label"] and list(reader.ints) == ["label"]
        stored = [reader.stored(i).tobytes() for i in range(COUNT)]
        assert reader.checksums.tolist() == list(map(zlib.crc32, stored))
        assert reader.checksums.dtype == np.int64
        loops = (standard_loop, default_loop) if writer == "passthrough" else (standard_loop,)
        for loop in loops:  # each takes some seconds to be compiled
            found = ffcv(loop, out, *([SIDE] if loop is standard_loop else []))
            images, labels = zip(*found, strict=True) if loop is standard_loop else found
            assert np.ravel(labels).tolist() == reader.labels.tolist()
            assert all(close(image, reader.encoded(i)) for i, image in enumerate(images))
    assert verify(VerifyConfig(str(out), workers=1))["checked_crc"]


def test_textures_come_after_image_and_label(tmp_path, ffcv):
    path, images, textures = (
        tmp_path / "x.beton",
        *([jpeg(photo(RNG, side, side)) for _ in range(COUNT)] for side in (SIDE, 24)),
    )
    with BetonWriter(path, paired_fields=("texture",)) as writer:
        for i, (image, texture) in enumerate(zip(images, textures, strict=True)):
            writer.add(image, SIDE, SIDE, label=i, paired={"texture": (texture, 24, 24)})
    found, labels, paired = ffcv(default_loop, path)
    assert labels.ravel().tolist() == list(range(COUNT))
    assert all(map(close, found, images)) and all(map(close, paired, textures))
    found, labels = ffcv(default_loop, path, ["texture"])  # a field that is not wanted is left out
    assert labels.ravel().tolist() == list(range(COUNT)) and all(map(close, found, images))
    with BetonReader(path, verify=True) as reader:
        assert reader.checksums_of("texture").tolist() == list(map(zlib.crc32, textures))


def test_files_without_labels_give_images_alone(tmp_path, ffcv):
    blobs = [jpeg(photo(RNG, SIDE, SIDE)) for _ in range(COUNT)]
    with BetonWriter(tmp_path / "x.beton", ()) as writer:
        for blob in blobs:
            writer.add(blob, SIDE, SIDE)
    (found,) = ffcv(default_loop, tmp_path / "x.beton")
    assert all(map(close, found, blobs))


def test_old_files_keep_their_checksums_and_join_new_ones(tmp_path, ffcv):
    old, new = tmp_path / "old.beton", tmp_path / "new.beton"
    blobs = old_file(old)
    assert len(ffcv(default_loop, old)) == 3  # why they moved
    found, labels = ffcv(default_loop, old, ["crc32"])
    assert labels.ravel().tolist() == list(range(COUNT)) and all(map(close, found, blobs))
    with BetonReader(old, verify=True) as reader:
        assert reader.checksums.tolist() == reader.ints["crc32"].tolist()
        assert reader.labels.tolist() == list(range(COUNT)) and "crc32" in reader.fields
    with BetonWriter(new) as writer:
        writer.add(b"another", 1, 1, label=5)
    with open_data(f"{old},{new}", verify=True) as data:
        assert data.fields == ["image", "label"] and list(data.ints) == ["label"]
        assert data.checksums.tolist() == [*map(zlib.crc32, blobs), zlib.crc32(b"another")]
        assert data.stored_bytes.tolist() == [*map(len, blobs), 7]
    with open_data(f"{old},{old_copy(old)}") as data:
        assert data.fields == ["image", "label", "crc32"] and len(data.ints["crc32"]) == 2 * COUNT
    with BetonWriter(new, checksums=False) as writer:
        writer.add(b"another", 1, 1, label=5)
    with open_data(f"{old},{new}") as data:
        assert data.checksums is None


def old_copy(path):
    copy = path.with_name("copy.beton")
    copy.write_bytes(path.read_bytes())
    return copy
