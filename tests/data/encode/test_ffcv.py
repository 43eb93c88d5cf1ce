"""FFCV itself reads our files, and we read its: the truth about the format is what FFCV does.

FFCV works in a process of its own (conftest.py).
"""

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastneg.config import EncodeConfig
from fastneg.data import BetonError, BetonReader, BetonWriter
from fastneg.data.beton.format import ALLOCATION, DESCRIPTOR, HEADER
from fastneg.data.encode import ffcv as module
from fastneg.data.encode.encode import encode
from helpers.ffcv_calls import (
    ffcvs_layout,
    load_with_ffcv,
    pair_with_ffcv,
    read_with_ffcv,
    write_with_ffcv,
)
from helpers.images import jpeg, photo
from helpers.processes import holds_large_file

RNG = np.random.default_rng(0)
TIMEOUT_S = 200


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(bytes(data))).convert("RGB")).astype(int)


def thumbnail(image):
    """(4, 6, 3): coarse enough that what JPEG loses in fine grain does not count."""
    return np.asarray(
        Image.fromarray(image.astype(np.uint8)).resize((6, 4), Image.Resampling.BOX)
    ).astype(int)


def write(path, images, page_size=1 << 21):
    """A JPEG of each kind that passes through, and raw pixels, in turn; returns the JPEG bytes,
    None for raw."""
    blobs = []
    with BetonWriter(path, int_fields=("label", "texture"), page_size=page_size) as writer:
        for i, image in enumerate(images):
            file = io.BytesIO()
            shown = Image.fromarray(image)
            if i % 4 == 3:
                blobs.append(None)
                writer.add_raw(image, label=i, texture=-i)
                continue
            (shown.convert("L") if i % 4 == 1 else shown).save(
                file, "JPEG", quality=95, progressive=i % 4 == 2
            )
            blobs.append(file.getvalue())
            writer.add(blobs[-1], *image.shape[:2], label=i, texture=-i)
    return blobs


def test_the_layout_is_ffcvs(ffcv):
    ours = [
        (dtype.itemsize, [dtype.fields[name][1] for name in dtype.names])
        for dtype in (HEADER, DESCRIPTOR, ALLOCATION)
    ]
    assert ours == ffcv(ffcvs_layout)


@pytest.mark.parametrize("os_cache", [True, False])
def test_ffcvs_loader_reads_our_file(tmp_path, ffcv, os_cache):
    path, originals = tmp_path / "x.beton", [photo(RNG, 40, 56) for _ in range(12)]
    blobs = write(path, originals, page_size=1 << 14)  # small pages: the samples lie in several
    images, labels, textures = ffcv(load_with_ffcv, path, os_cache, None)
    assert labels.ravel().tolist() == list(range(12)) and textures.ravel().tolist() == [
        -i for i in range(12)
    ]
    for image, blob, original in zip(images, blobs, originals, strict=True):
        if blob is None:
            np.testing.assert_array_equal(image, original)
        else:
            # it decodes in a coarser way than Pillow
            assert abs(image.astype(int) - pixels(blob)).mean() < 2
    with BetonReader(path, verify=True) as reader:
        assert [reader.jpeg(i).tobytes() for i in range(12) if i % 4 != 3] == [
            blob for blob in blobs if blob is not None
        ]


def test_ffcvs_loader_crops_our_images_of_different_sizes(tmp_path, ffcv):
    path, originals = tmp_path / "x.beton", [photo(RNG, 40 + 3 * i, 70 - 2 * i) for i in range(8)]
    blobs = write(path, originals)
    crops, _, _ = ffcv(load_with_ffcv, path, True, 20)
    for crop, blob, original in zip(crops, blobs, originals, strict=True):
        whole = original if blob is None else pixels(blob).astype(np.uint8)
        height, width = whole.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        expected = Image.fromarray(whole[top : top + side, left : left + side]).resize(
            (20, 20), Image.Resampling.BOX
        )
        # OpenCV's INTER_AREA against a box
        assert abs(crop.astype(int) - np.asarray(expected).astype(int)).mean() < 4


def test_ffcvs_reader_finds_our_samples(tmp_path, ffcv):
    path = tmp_path / "x.beton"
    write(path, [photo(RNG, 30, 40) for _ in range(8)])
    (names, records, where), data = ffcv(read_with_ffcv, path), path.read_bytes()
    with BetonReader(path) as reader:
        assert names == reader.fields and len(records) == len(reader) == len(where) == 8
        for i, (height, width, pointer) in enumerate(records):
            begin, size = where[i]
            assert pointer == begin and data[begin : begin + size] == reader.stored(i).tobytes()
            assert [height, width] == reader.sizes[i].tolist()


@pytest.mark.parametrize("mode", ["raw", "jpg", "proportion"])
def test_we_read_ffcvs_files(tmp_path, ffcv, mode):
    path, images = tmp_path / "x.beton", [photo(RNG, 40 + i, 60) for i in range(24)]
    fields = ffcv(write_with_ffcv, path, mode, images)
    with BetonReader(path) as reader:
        assert reader.fields == fields and reader.labels.tolist() == [i % 5 for i in range(24)]
        assert reader.ints["id"].tolist() == list(range(100, 124)) and reader.checksums is None
        assert reader.sizes.tolist() == [[40 + i, 60] for i in range(24)]
        assert reader.raw.sum() in {"raw": [24], "jpg": [0], "proportion": range(1, 24)}[mode]
        for i, image in enumerate(images):
            if reader.raw[i]:
                assert reader.encoded(i).tobytes() == b"P6 60 %d 255\n" % (40 + i) + image.tobytes()
            assert pixels(reader.encoded(i)).shape == image.shape
            assert abs(thumbnail(pixels(reader.encoded(i))) - thumbnail(image)).mean() < 4


def test_paired_images_pass_between_us_and_ffcv(tmp_path, ffcv):
    path, images, textures = (
        tmp_path / "x.beton",
        *([photo(RNG, side, 56) for _ in range(12)] for side in (40, 30)),
    )
    with BetonWriter(path, page_size=1 << 14, paired_fields=("texture",)) as writer:
        for i, (image, texture) in enumerate(zip(images, textures, strict=True)):
            writer.add(jpeg(image), 40, 56, label=i, paired={"texture": (jpeg(texture), 30, 56)})
    found = ffcv(pair_with_ffcv, path, None)
    assert sorted(found[1].ravel().tolist()) == list(range(12))
    for image, label, texture in zip(*found, strict=True):
        assert abs(image.astype(int) - pixels(jpeg(images[label[0]]))).mean() < 2
        assert abs(texture.astype(int) - pixels(jpeg(textures[label[0]]))).mean() < 2
    ffcv(
        pair_with_ffcv,
        path,
        [
            (texture, i, image)
            for i, (image, texture) in enumerate(zip(images, textures, strict=True))
        ],
    )
    (tmp_path / "x.beton.json").unlink()
    with BetonReader(path) as reader:
        assert (
            reader.image_fields == ["image", "texture"]
            and reader.raw.all()
            and reader.labels.tolist() == list(range(12))
        )
        for i, (image, texture) in enumerate(zip(images, textures, strict=True)):
            np.testing.assert_array_equal(pixels(reader.encoded(i)), image)
            assert (
                abs(thumbnail(pixels(reader.jpeg(i, field="texture"))) - thumbnail(texture)).mean()
                < 4
            )


# --- fastneg encode --writer ffcv -----------------------------------------------------------------


def folder(tmp_path, **extra):
    images = {f"{'ab'[i % 2]}/{i}.jpg": jpeg(photo(RNG, 40, 60 + i), quality=95) for i in range(20)}
    for name, data in {**images, **extra}.items():
        (tmp_path / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "src" / name).write_bytes(data)
    return images


def config(tmp_path, **changes):
    return EncodeConfig(
        str(tmp_path / "src"), str(tmp_path / "x.beton"), writer="ffcv", workers=1, **changes
    )


def left_over(tmp_path):
    return {path.name for path in tmp_path.iterdir()} - {"src"}


def test_ffcvs_writer_encodes_a_folder(tmp_path):
    images = folder(tmp_path, **{"a/truncated.jpg": jpeg(photo(RNG, 50, 50))[:-200]})
    summary = encode(config(tmp_path, ffcv_mode="proportion", max_side=50, on_error="skip"))
    assert (
        summary["images"] == 20
        and summary["passed_through"] == 0
        and sum(summary["re_encoded"].values()) == 20
    )
    assert len(summary["skipped"]) == 1 and summary["skipped"][0].startswith("a/truncated.jpg")
    with BetonReader(tmp_path / "x.beton") as reader:
        assert (
            sorted(reader.names) == sorted(images)
            and reader.classes == ["a", "b"]
            and reader.fields == ["image", "label"]
        )
        assert [reader.classes[label] for label in reader.labels] == [
            name[0] for name in reader.names
        ]
        assert (reader.sizes.max(axis=1) == 50).all() and 0 < reader.raw.sum() < 20
        for i, name in enumerate(reader.names):
            height, width = reader.sizes[i]
            assert (
                abs(thumbnail(pixels(reader.encoded(i))) - thumbnail(pixels(images[name]))).mean()
                < 6
            )
            assert abs(width / height - pixels(images[name]).shape[1] / 40) < 0.1
    assert left_over(tmp_path) == {"x.beton", "x.beton.json"}


def test_pages_of_ffcvs_writer_grow_to_the_largest_image(tmp_path):
    folder(tmp_path, **{"b/large.jpg": jpeg(np.zeros((1700, 1700, 3), np.uint8))})
    assert encode(config(tmp_path, ffcv_mode="raw"))["images"] == 21
    with BetonReader(tmp_path / "x.beton") as reader:
        assert len(reader.stored(reader.names.index("b/large.jpg"))) == 1700 * 1700 * 3


def test_a_corrupt_image_ends_the_job_before_ffcv_begins(tmp_path):
    folder(tmp_path, **{"b/bad.jpg": b"\xff\xd8\xff\xe0 no more"})
    with pytest.raises(BetonError, match=r"bad\.jpg cannot be used: .*--on_error skip"):
        encode(config(tmp_path))
    assert left_over(tmp_path) == set()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xff\xd8\xff\xe0 no more", r"FFCV's writer failed: .*bad\.jpg cannot be used"),
        (
            jpeg(np.zeros((1700, 1700, 3), np.uint8)),
            r"one of its workers died with exit code 1.* Tried allocating 8670000",
        ),
    ],
    ids=["sample fails", "worker dies"],
)
def test_ffcvs_endless_wait_becomes_an_error(tmp_path, monkeypatch, data, said):
    folder(tmp_path, **{"b/bad.jpg": data})
    # the check beforehand would find both
    monkeypatch.setattr(module, "decoded_size", lambda data: (10, 10))
    began = time.monotonic()
    with pytest.raises(BetonError, match=said):
        encode(config(tmp_path, ffcv_mode="raw"))
    assert time.monotonic() - began < 100 and left_over(tmp_path) == set()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_signal_ends_all_of_ffcvs_processes(tmp_path, number, code):
    data, mark = jpeg(photo(RNG, 256, 256)), f"FASTNEG_TEST_JOB={tmp_path}-{number}"
    for i in range(700):
        path = tmp_path / f"src/{i % 4}/{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (out := tmp_path / "out").mkdir()
    (temporary := tmp_path / "tmp").mkdir()
    flags = ["--writer", "ffcv", "--ffcv_mode", "jpg", "--workers", "2"]
    job = subprocess.Popen(
        [sys.executable, "-m", "fastneg", "encode", "src", "out/x.beton", *flags],
        cwd=tmp_path,
        env=dict([*os.environ.items(), mark.split("=", 1), ("TMPDIR", str(temporary))]),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        began = time.monotonic()
        # FFCV is writing samples
        while not holds_large_file(out):
            assert time.monotonic() - began < TIMEOUT_S and job.poll() is None
            time.sleep(0.002)
        assert len(processes(mark)) > 3
        job.send_signal(number)
        error = job.communicate(timeout=TIMEOUT_S)[1]
        assert job.returncode == code and (
            number == signal.SIGKILL or "nothing was left of out/x.beton" in error
        )
        while left := processes(mark):
            assert time.monotonic() - began < TIMEOUT_S, left
            time.sleep(0.1)
    finally:
        for process in processes(mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
    # What a killed process leaves is one file, which the next call removes.
    assert [bool(re.fullmatch(r"\.x\.beton\.\w+\.tmp", path.name)) for path in out.iterdir()] == [
        True
    ] * (number == signal.SIGKILL)
    assert not [path for path in temporary.iterdir() if not path.is_dir()]


def processes(mark):
    """Ids of the living processes that have it in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (path / "environ").read_bytes().split(b"\0"):
                found.append(int(path.name))
    return found
