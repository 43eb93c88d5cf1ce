"""Encoding with our writer, and what it rests on: fastneg.data.sources, fastneg.data.image_files, fastneg.data.pool.

With FFCV's writer: test_ffcv_interop.py.
"""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from conftest import jpeg, photo
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from fastneg.config import ConfigError, EncodeConfig
from fastneg.data import BetonError, BetonReader, pool
from fastneg.data.encode import encode, encode_samples
from fastneg.data.image_files import decoded_size, jpeg_header, prepare
from fastneg.data.pool import in_order
from fastneg.data.subsets import IMAGENET100

RNG = np.random.default_rng(0)
PHOTO = photo(RNG, 60, 80)
# Without fine grain, so that JPEG loses next to nothing and a difference means a fault.
SMOOTH = np.asarray(Image.fromarray(RNG.integers(0, 256, (3, 4, 3), dtype=np.uint8)).resize((80, 60), Image.Resampling.BICUBIC))
FLAT = RNG.integers(0, 256, (2, 2, 3), dtype=np.uint8).repeat(32, 0).repeat(32, 1)


def saved(image, kind, **options):
    file = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(file, kind, **options)
    return file.getvalue()


def rotated(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(SMOOTH, "JPEG", quality=95, exif=exif)


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(bytes(data))).convert("RGB")).astype(int)


def error(data, expected):
    """Mean difference of a JPEG from the pixels it should show, of 255."""
    return abs(pixels(data) - np.asarray(expected).astype(int)).mean()


# --- JPEG headers -----------------------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    mode=st.sampled_from(["L", "RGB", "CMYK"]),
    orientation=st.integers(0, 9),
    options=st.fixed_dictionaries({"progressive": st.booleans(), "optimize": st.booleans(), "quality": st.sampled_from([5, 50, 100])}),
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
        expected = image.height, image.width, len(image.getbands()), 8, 0xC2 if options["progressive"] else 0xC0
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
    data = bytearray(rotated(6) if decode else jpeg(PHOTO))
    for fraction, value in changes:
        data[int(fraction * min(len(data), 700))] = value  # where the markers are
    data = bytes(data[: int(keep * len(data)) + 1])
    try:
        header = jpeg_header(data)
        assert header.height > 0 and header.width > 0 and 1 <= header.orientation <= 8
        if decode:
            again, height, width, _ = prepare(data)
            assert decoded_size(again) == (height, width)
    except BetonError:
        pass


# --- one image --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        jpeg(PHOTO),
        saved(PHOTO, "JPEG", progressive=True),
        saved(Image.fromarray(PHOTO).convert("L"), "JPEG"),
        jpeg(PHOTO[:1, :1]),
        rotated(1),
    ],
    ids=["baseline", "progressive", "gray", "1x1", "upright"],
)
def test_jpeg_bytes_pass_through_untouched(data):
    assert prepare(data, max_side=80) == (data, *Image.open(io.BytesIO(data)).size[::-1], None)


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
        (rotated(3), SMOOTH[::-1, ::-1], "exif rotation"),
        (rotated(6), np.rot90(SMOOTH, -1), "exif rotation"),
        (rotated(8), np.rot90(SMOOTH), "exif rotation"),
        (rotated(2), SMOOTH[:, ::-1], "exif rotation"),
    ],
    ids=["png", "webp", "bmp", "palette", "alpha", "16 bit", "cmyk", "180", "90", "270", "mirrored"],
)
def test_what_must_change_is_encoded_again(data, expected, reason):
    again, height, width, why = prepare(data, quality=95)
    header = jpeg_header(again)
    assert why == reason and (header.height, header.width, header.components) == (height, width, 3) == (*expected.shape[:2], 3)
    assert error(again, expected) < 3
    assert prepare(again) == (again, height, width, None)


def test_large_images_are_scaled_down():
    large = np.asarray(Image.fromarray(SMOOTH).resize((150, 300)))
    for data, reason in ((jpeg(large), "over max_side"), (saved(large, "PNG"), "png")):
        again, height, width, why = prepare(data, max_side=100)
        assert (height, width, why) == (100, 50, reason) and decoded_size(again) == (100, 50)
        assert error(again, Image.fromarray(large).resize((50, 100), Image.Resampling.LANCZOS)) < 3
    assert prepare(jpeg(photo(RNG, 1, 300)), max_side=100)[1:3] == (1, 100)  # no side becomes 0


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xd8", jpeg(PHOTO)[:-300], jpeg(PHOTO)[:100], saved(PHOTO, "PNG")[:-300], b"text", saved(Image.new("F", (4, 4)), "TIFF")],
    ids=["empty", "start only", "truncated", "header only", "truncated png", "text", "float"],
)
def test_what_cannot_be_decoded_is_refused(data, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # a program that is lenient elsewhere changes nothing here
    with pytest.raises(BetonError):
        prepare(data)
    assert ImageFile.LOAD_TRUNCATED_IMAGES


# --- folders ----------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """{name: bytes} of 70 images in src/train/{cat,dog,eel}, one folder deeper for some, one file that is no image."""
    files = {}
    for i in range(68):
        name = f"train/{'cat' if i % 2 else 'dog'}/{'deep/' if i % 5 == 0 else ''}{i}.{'JPEG' if i % 3 else 'jpg'}"
        files[name] = jpeg(photo(RNG, 20 + i, 30))
    files["train/eel/picture.png"] = saved(PHOTO, "PNG")
    files["train/eel/cmyk.jpg"] = saved(Image.fromarray(PHOTO).convert("CMYK"), "JPEG")
    for name, data in {**files, "train/eel/notes.txt": b"notes", "train/.hidden/x.jpg": b""}.items():
        (tmp_path / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "src" / name).write_bytes(data)
    return files


def config(tmp_path, **changes):
    return EncodeConfig(**{"src": str(tmp_path / "src"), "out": str(tmp_path / "out.beton"), "split": "train", "workers": 1, **changes})


@pytest.mark.parametrize("workers", [1, 2])
def test_a_folder_becomes_a_file(tmp_path, folder, workers):
    summary = encode(config(tmp_path, workers=workers))
    assert summary.pop("seconds") > 0
    with BetonReader(summary_path := tmp_path / "out.beton", verify=True) as reader:
        assert sorted(reader.names) == sorted(folder) and reader.names != sorted(folder)  # all, and shuffled
        assert reader.classes == ["cat", "dog", "eel"]
        for i, name in enumerate(reader.names):
            assert reader.classes[reader.labels[i]] == name.split("/")[1]
            assert tuple(reader.sizes[i]) == decoded_size(reader.jpeg(i).tobytes())
            if "eel" not in name:
                assert reader.jpeg(i).tobytes() == folder[name]
        size = sum(len(reader.jpeg(i)) for i in range(70))
    assert summary == {
        "images": 70, "bytes": size, "passed_through": 68, "re_encoded": {"png": 1, "cmyk": 1}, "skipped": [], "ignored": 1
    }  # fmt: skip
    notes = json.loads((tmp_path / "out.beton.json").read_text())
    assert notes["samples"] == 70 and notes["re_encoded"] == summary["re_encoded"] and notes["encode"]["split"] == "train"
    assert {path.name for path in tmp_path.iterdir()} == {"src", summary_path.name, "out.beton.json"}


def test_the_seed_gives_the_order(tmp_path, folder):
    names = {}
    for key, seed, workers in (("a", 1, 1), ("b", 1, 2), ("c", 2, 1)):
        encode(config(tmp_path, seed=seed, workers=workers))
        names[key] = BetonReader(tmp_path / "out.beton").names
    assert names["a"] == names["b"] != names["c"]


def test_a_subset_takes_the_named_classes_and_their_sorted_order(tmp_path, folder):
    (tmp_path / "list.txt").write_text("eel\n\n cat \n")
    assert encode(config(tmp_path, subset=str(tmp_path / "list.txt")))["images"] == 36
    with BetonReader(tmp_path / "out.beton") as reader:
        assert reader.classes == ["cat", "eel"] and {name.split("/")[1] for name in reader.names} == {"cat", "eel"}
    with pytest.raises(ConfigError, match="lacks 100 of the 100 classes of --subset imagenet100: n01558993"):
        encode(config(tmp_path, subset="imagenet100"))
    with pytest.raises(ConfigError, match=r"--subset is .imagenet10."):
        encode(config(tmp_path, subset="imagenet10"))


def test_imagenet100_is_the_published_list():  # the checksum is of imagenet100.txt as its authors publish it
    assert zlib.crc32(("\n".join(IMAGENET100) + "\n").encode()) == 0xF54C294
    assert len(set(IMAGENET100)) == 100


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"split": "valid"}, ConfigError, "There is no folder .*valid"),
        ({"split": None}, ConfigError, "holds train: give --split"),
        ({"split": "train/cat"}, None, ""),
        ({"split": "train/eel"}, BetonError, "holds no images: .*jpg.* was looked for"),
    ],
)
def test_folders_that_do_not_fit(tmp_path, folder, changes, kind, said):
    if kind is None:
        assert encode(config(tmp_path, **changes))["images"] == 7  # the class "deep" of train/cat
        return
    with pytest.raises(kind, match=said):
        encode(config(tmp_path, **changes))


def test_a_folder_is_no_output(tmp_path, folder):
    with pytest.raises(ConfigError, match=r"--out is .*a folder"):
        encode(config(tmp_path, out=str(tmp_path)))


@pytest.mark.parametrize("workers", [1, 2])
def test_an_unreadable_image_stops_the_job_or_is_listed(tmp_path, folder, workers):
    (tmp_path / "src/train/cat/truncated.jpg").write_bytes(jpeg(PHOTO)[:-500])
    (tmp_path / "src/train/dog/empty.jpg").write_bytes(b"")
    with pytest.raises(BetonError, match=r"(truncated|empty)\.jpg cannot be used: .*--on_error skip"):
        encode(config(tmp_path, workers=workers))
    assert [path.name for path in tmp_path.iterdir()] == ["src"]
    summary = encode(config(tmp_path, workers=workers, on_error="skip"))
    assert summary["images"] == 70 and sorted(text.split(":")[0] for text in summary["skipped"]) == [
        "train/cat/truncated.jpg", "train/dog/empty.jpg"
    ]  # fmt: skip
    for name in folder:
        (tmp_path / "src" / name).write_bytes(b"")
    (tmp_path / "out.beton").unlink()
    with pytest.raises(BetonError, match="no sample was added"):
        encode(config(tmp_path, on_error="skip"))
    assert not (tmp_path / "out.beton").exists()


def test_an_interrupt_leaves_nothing(tmp_path):
    """The real thing: Ctrl-C reaches the process and its workers while they work."""
    data = jpeg(photo(RNG, 192, 192))  # large enough for the job to last while the signal is on its way
    for i in range(3000):
        path = tmp_path / f"src/train/{i % 4}/{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "out").mkdir()
    script = tmp_path / "job.py"
    script.write_text(
        "from fastneg.config import EncodeConfig\nfrom fastneg.data.encode import encode\n"
        "if __name__ == '__main__':\n    encode(EncodeConfig('src', 'out/x.beton', 'train', workers=2))\n"
    )
    job = subprocess.Popen([sys.executable, str(script)], cwd=tmp_path, start_new_session=True, stderr=subprocess.PIPE, text=True)
    try:
        began = time.monotonic()
        while not any(path.stat().st_size > 2**23 for path in (tmp_path / "out").iterdir()):  # samples are being written
            assert time.monotonic() - began < 120 and job.poll() is None
            time.sleep(0.002)
        os.killpg(job.pid, signal.SIGINT)
        said = job.communicate(timeout=60)[1]
    finally:
        job.kill()
    assert said.count("KeyboardInterrupt") == 1 and job.returncode != 0  # the workers keep silent
    assert list((tmp_path / "out").iterdir()) == []


# --- from a program, and in processes ---------------------------------------------------------------------------------------------------


def test_samples_of_a_program(tmp_path):
    blobs = [jpeg(photo(RNG, 20 + i, 30)) for i in range(5)]
    made = ((data, {"label": i, "texture": -i}, f"shape{i}") for i, data in enumerate(blobs))
    summary = encode_samples(tmp_path / "x.beton", made, classes=list("abcde"), int_fields=("label", "texture"))
    assert summary["images"] == summary["passed_through"] == 5 and summary["bytes"] == sum(map(len, blobs))
    with BetonReader(tmp_path / "x.beton", verify=True) as reader:
        assert [reader.jpeg(i).tobytes() for i in range(5)] == blobs  # in the order in which they came
        assert reader.ints["texture"].tolist() == [0, -1, -2, -3, -4] and reader.sizes[:, 0].tolist() == [20, 21, 22, 23, 24]
        assert reader.classes == list("abcde") and reader.names == [f"shape{i}" for i in range(5)]
    for data, said in ((saved(PHOTO, "PNG"), "no JPEG"), (rotated(6), r"sample 0 \(bad\) cannot be stored as it is: exif rotation")):
        with pytest.raises(BetonError, match=said):
            encode_samples(tmp_path / "y.beton", [(data, {"label": 0}, "bad")])
    assert {path.name for path in tmp_path.iterdir()} == {"x.beton", "x.beton.json"}


def _slow_first(number):
    time.sleep(0.2 if number == 0 else 0)
    return number * number


def _die(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def _interrupt_yourself(number):
    os.kill(os.getpid(), signal.SIGINT)
    return number


def test_an_interrupt_is_the_parents_business():
    assert list(in_order(_interrupt_yourself, range(4), workers=2)) == [0, 1, 2, 3]  # Ctrl-C reaches idle workers too


def test_results_come_in_order_and_a_dead_worker_is_an_error():
    assert list(in_order(_slow_first, range(20), workers=2)) == [i * i for i in range(20)]
    with pytest.raises(BetonError, match="worker process died"):
        list(in_order(_die, range(20), workers=2))


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere(tmp_path, folder, monkeypatch, capsys):
    monkeypatch.setattr(pool, "PLAIN_LINE_S", 0.0)
    encode(config(tmp_path))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 70 and re.fullmatch(r"encode: 70/70 images, \d+ images/s, \d+\.\d MB/s", lines[-1])
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with pool.Progress("encode", 2) as progress:
        for _ in range(2):
            time.sleep(0.15)  # a bar is drawn ten times a second at most
            progress.advance(1, 10**6)
    assert re.search(r"encode: 100%.*2/2 .*image/s, \d+\.\d MB/s", terminal.getvalue())


def test_without_pillow_the_extra_is_named(tmp_path, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(BetonError, match=r"fastneg\[train\]"):
        encode(config(tmp_path))
