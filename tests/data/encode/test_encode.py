"""Encoding with our writer: what it finds to encode (fastneg.data.encode.sources), paired textures
(fastneg.data.encode.paired), and what is left when it ends early (fastneg.files). With FFCV's
writer: test_ffcv.py.
"""

import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
import zlib

import numpy as np
import PIL
import pytest
from PIL import Image

from fastneg.config import ConfigError, EncodeConfig
from fastneg.data import BetonError, BetonReader
from fastneg.data.encode.encode import encode
from fastneg.data.encode.samples import encode_samples
from fastneg.data.images import decoded_size
from fastneg.data.known_classes import IMAGENET100
from fastneg.files import temporary_file
from fastneg.progress import Progress
from fastneg.recipes.encode import run_encode
from helpers.images import jpeg, photo, rotated, saved
from helpers.processes import holds_large_file

RNG = np.random.default_rng(0)
PHOTO = photo(RNG, 60, 80)


# --- folders --------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """{name: bytes} of 70 images in src/train/{cat,dog,eel}, one folder deeper for some, one file
    that is no image."""
    files = {}
    for i in range(68):
        folder = f"train/{'cat' if i % 2 else 'dog'}/{'deep/' if i % 5 == 0 else ''}"
        name = f"{folder}{i}.{'JPEG' if i % 3 else 'jpg'}"
        files[name] = jpeg(photo(RNG, 20 + i, 30))
    files["train/eel/picture.png"] = saved(PHOTO, "PNG")
    files["train/eel/cmyk.jpg"] = saved(Image.fromarray(PHOTO).convert("CMYK"), "JPEG")
    for name, data in {
        **files,
        "train/eel/notes.txt": b"notes",
        "train/.hidden/x.jpg": b"",
    }.items():
        (tmp_path / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "src" / name).write_bytes(data)
    return files


def config(tmp_path, **changes):
    return EncodeConfig(
        **{
            "src": str(tmp_path / "src"),
            "out": str(tmp_path / "out.beton"),
            "split": "train",
            "workers": 1,
            **changes,
        }
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_a_folder_becomes_a_file(tmp_path, folder, workers):
    summary = encode(config(tmp_path, workers=workers))
    assert summary.pop("seconds") > 0
    with BetonReader(summary_path := tmp_path / "out.beton", verify=True) as reader:
        # all, and shuffled
        assert sorted(reader.names) == sorted(folder) and reader.names != sorted(folder)
        assert reader.classes == ["cat", "dog", "eel"]
        for i, name in enumerate(reader.names):
            assert reader.classes[reader.labels[i]] == name.split("/")[1]
            assert tuple(reader.sizes[i]) == decoded_size(reader.jpeg(i).tobytes())
            if "eel" not in name:
                assert reader.jpeg(i).tobytes() == folder[name]
        size = sum(len(reader.jpeg(i)) for i in range(70))
    assert summary == {
        "images": 70, "bytes": size, "passed_through": 68, "re_encoded": {"png": 1, "cmyk": 1},
        "textures_re_encoded": {}, "skipped": [], "ignored": 1, "left_out": {}, "removed": [],
        "labels_from": "folders", "notes": ["Not looked into, hidden or a system's: .hidden."],
        "classes": 3, "smallest_class": ("eel", 2), "largest_class": ("cat", 34),
    }  # fmt: skip
    notes = json.loads((tmp_path / "out.beton.json").read_text())
    assert (
        notes["samples"] == 70
        and notes["re_encoded"] == summary["re_encoded"]
        and notes["encode"]["split"] == "train"
    )
    assert notes["versions"]["pillow"] == PIL.__version__ and notes["versions"].keys() == {
        "python",
        "fastneg",
        "pillow",
        "numpy",
    }
    assert {path.name for path in tmp_path.iterdir()} == {
        "src",
        summary_path.name,
        "out.beton.json",
    }


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
        assert reader.classes == ["cat", "eel"] and {
            name.split("/")[1] for name in reader.names
        } == {"cat", "eel"}
    with pytest.raises(
        ConfigError, match="lacks 100 of the 100 classes of --subset imagenet100: n01558993"
    ):
        encode(config(tmp_path, subset="imagenet100"))
    with pytest.raises(ConfigError, match=r"--subset is .imagenet10."):
        encode(config(tmp_path, subset="imagenet10"))


# the checksum is of imagenet100.txt as its authors publish it
def test_imagenet100_is_the_published_list():
    assert zlib.crc32(("\n".join(IMAGENET100) + "\n").encode()) == 0xF54C294
    assert len(set(IMAGENET100)) == 100


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"split": "valid"}, ConfigError, "There is no folder .*valid"),
        ({"split": None}, ConfigError, "holds train: give --split"),
        ({"split": "train/empty"}, BetonError, "holds no images: .*jpg.* was expected"),
    ],
)
def test_folders_that_do_not_fit(tmp_path, folder, changes, kind, said):
    (tmp_path / "src/train/empty").mkdir()
    (tmp_path / "src/train/empty/notes.txt").write_text("no image")
    with pytest.raises(kind, match=said):
        encode(config(tmp_path, **changes))


def test_a_split_names_any_folder_below(tmp_path, folder):
    # the class "deep" of train/cat
    assert encode(config(tmp_path, split="train/cat"))["images"] == 7
    # a folder without folders: images without classes
    assert encode(config(tmp_path, split="train/eel"))["images"] == 2


def test_a_folder_is_no_output(tmp_path, folder):
    with pytest.raises(ConfigError, match=r"OUT is .*a folder"):
        encode(config(tmp_path, out=str(tmp_path)))


@pytest.mark.parametrize("workers", [1, 2])
def test_an_unreadable_image_stops_the_job_or_is_listed(tmp_path, folder, workers):
    (tmp_path / "src/train/cat/truncated.jpg").write_bytes(jpeg(PHOTO)[:-500])
    (tmp_path / "src/train/dog/empty.jpg").write_bytes(b"")
    with pytest.raises(
        BetonError, match=r"(truncated|empty)\.jpg cannot be used: .*--on_error skip"
    ):
        encode(config(tmp_path, workers=workers))
    assert [path.name for path in tmp_path.iterdir()] == ["src"]
    summary = encode(config(tmp_path, workers=workers, on_error="skip"))
    skipped = sorted(text.split(":")[0] for text in summary["skipped"])
    assert summary["images"] == 70
    assert skipped == ["train/cat/truncated.jpg", "train/dog/empty.jpg"]
    for name in folder:
        (tmp_path / "src" / name).write_bytes(b"")
    (tmp_path / "out.beton").unlink()
    with pytest.raises(BetonError, match="no sample was added"):
        encode(config(tmp_path, on_error="skip"))
    assert not (tmp_path / "out.beton").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_textures_are_stored_with_their_images(tmp_path, folder, workers, capsys):
    textures = {}
    for i, name in enumerate(folder):
        textures[name] = (
            jpeg(photo(RNG, 16, 16 + i)) if i % 7 else saved(photo(RNG, 16, 16 + i), "PNG")
        )
        # another suffix is found too
        path = tmp_path / "textures" / (name if i % 2 else os.path.splitext(name)[0] + ".PNG")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(textures[name])
    paired = config(tmp_path, textures=str(tmp_path / "textures"), workers=workers)
    assert run_encode(paired) == 0
    assert "textures encoded again: 10 png" in capsys.readouterr().out
    with BetonReader(tmp_path / "out.beton", verify=True) as reader:
        assert (
            reader.image_fields == ["image", "texture"]
            and reader.classes == ["cat", "dog", "eel"]
            and len(reader) == 70
        )
        for i, name in enumerate(reader.names):
            assert tuple(reader.sizes_of("texture")[i]) == decoded_size(textures[name])
            assert (
                reader.jpeg(i, "texture").tobytes() == textures[name]
                or textures[name][:4] == b"\x89PNG"
            )
            assert "eel" in name or reader.jpeg(i).tobytes() == folder[name]
        size = sum(len(reader.jpeg(i, field)) for i in range(70) for field in ("image", "texture"))
    assert encode(paired)["bytes"] == size
    lost, cut = sorted((tmp_path / "textures/train/dog").glob("*.*"))[:2]
    lost.unlink()
    cut.write_bytes(cut.read_bytes()[:-50])
    with pytest.raises(BetonError, match=r"dog/.* cannot be used: its texture: "):
        encode(paired)
    summary = encode(paired.replace(on_error="skip"))
    skipped = [re.split(r"\.\w+: ", text)[0] for text in sorted(summary["skipped"])]
    assert summary["images"] == 68
    assert skipped == [f"train/dog/{path.stem}" for path in sorted((lost, cut))]
    assert sum("its texture: No such file" in text for text in summary["skipped"]) == 1


class Inverted:
    """A maker of textures: the image upside down, and none for cats."""

    def __call__(self, names, files):
        shown = [np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in files]
        return [
            "no cats" if "/cat/" in name else saved(image[::-1], "BMP")
            for name, image in zip(names, shown, strict=True)
        ]


def test_textures_can_come_from_a_program(tmp_path, folder):
    summary = encode(config(tmp_path, on_error="skip", workers=2), textures=Inverted())
    assert summary["images"] == 36 and summary["textures_re_encoded"] == {"bmp": 36}
    assert (
        all(": its texture: no cats" in text for text in summary["skipped"])
        and len(summary["skipped"]) == 34
    )
    with BetonReader(tmp_path / "out.beton") as reader:
        for i in range(36):
            image, texture = (
                np.asarray(Image.open(io.BytesIO(reader.jpeg(i, field).tobytes())))
                for field in reader.image_fields
            )
            assert abs(image[::-1].astype(int) - texture).mean() < 12


def test_textures_that_cannot_be(tmp_path, folder):
    with pytest.raises(ConfigError, match=r"--textures is .*nowhere.*a folder"):
        encode(config(tmp_path, textures=str(tmp_path / "nowhere")))
    with pytest.raises(ConfigError, match="--textures cannot be stored by --writer ffcv"):
        config(tmp_path, textures=str(tmp_path), writer="ffcv")
    with pytest.raises(ConfigError, match="--ffcv_mode is raw: it has an effect with"):
        config(tmp_path, ffcv_mode="raw")


@pytest.fixture(scope="module")
def long_job(tmp_path_factory):
    """start(out folder): a process that encodes, its samples already being written; it lasts while
    a signal is on its way."""
    folder = tmp_path_factory.mktemp("long")
    data = jpeg(photo(RNG, 192, 192))
    for i in range(3000):
        path = folder / f"src/{i % 4}/{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    jobs = []

    def start(out):
        out.mkdir(exist_ok=True)
        words = ("-m", "fastneg", "encode", "src", str(out / "x.beton"), "--workers", "2")
        job = subprocess.Popen(
            [sys.executable, *words],
            cwd=folder,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # a shell starts background jobs with SIGINT ignored
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        jobs.append(job)
        began = time.monotonic()
        while not holds_large_file(out):
            assert time.monotonic() - began < 120 and job.poll() is None
            time.sleep(0.002)
        return job

    yield start
    for job in jobs:
        job.kill()


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "stopped by SIGTERM; nothing was left of .*x.beton"),
    ],
)
def test_a_signal_leaves_nothing(tmp_path, long_job, number, code, said):
    job = long_job(tmp_path / "out")
    if number == signal.SIGINT:
        os.killpg(job.pid, number)  # as Ctrl-C: it reaches the workers too
    else:
        job.send_signal(number)
    error = job.communicate(timeout=120)[1]
    # One line, for the workers keep silent, after those of the progress where the machine is slow.
    assert job.returncode == code and re.fullmatch(
        rf"(encode: \d+/3000 .*\n)*fastneg encode: {said}.\n", error
    )
    assert list((tmp_path / "out").iterdir()) == []


def test_what_a_killed_call_leaves_is_removed_by_the_next(tmp_path, folder, long_job, capsys):
    job = long_job(tmp_path)
    job.kill()
    job.wait(120)
    (stale,) = tmp_path.glob(".x.beton.*.tmp")
    (other := tmp_path / ".y.beton.00000000.tmp").write_bytes(b"of another file")
    # another call is writing the same file
    with temporary_file(tmp_path / "x.beton") as (written, _):
        assert run_encode(config(tmp_path, out=str(tmp_path / "x.beton"))) == 0
        assert other.exists() and written.exists()
    assert (
        f"removed {stale.name}, which a call that was killed had left." in capsys.readouterr().out
    )
    assert {path.name for path in tmp_path.iterdir()} == {
        "src",
        "x.beton",
        "x.beton.json",
        other.name,
    }


@pytest.mark.parametrize("room", ["for no sample", "for some samples", "but for the last bytes"])
def test_a_full_disk_is_told_and_nothing_is_left(tmp_path, folder, room):
    """A limit on the size of files stands for the disk: the writes fail in the same way, for
    real."""
    encode(config(tmp_path))
    size = (tmp_path / "out.beton").stat().st_size  # the samples begin at 8 MiB
    limit = {
        "for no sample": 100_000,
        "for some samples": (2**23 + size) // 2,
        "but for the last bytes": size - 10,
    }[room]
    done = subprocess.run(
        [*(sys.executable, "-m", "fastneg", "encode", "src", "out/x.beton"),
         *("--split", "train", "--workers", "1")],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    said = (
        "cannot be written: File too large. Nothing was left of it: make room, or write elsewhere."
    )
    assert done.returncode == 1 and done.stderr == f"fastneg encode: out/x.beton {said}\n"
    assert list((tmp_path / "out").iterdir()) == []


# --- from a program, and in processes -------------------------------------------------------------


def test_samples_of_a_program(tmp_path):
    blobs = [jpeg(photo(RNG, 20 + i, 30)) for i in range(5)]
    made = ((data, {"label": i, "texture": -i}, f"shape{i}") for i, data in enumerate(blobs))
    summary = encode_samples(
        tmp_path / "x.beton", made, classes=list("abcde"), int_fields=("label", "texture")
    )
    assert summary["images"] == summary["passed_through"] == 5 and summary["bytes"] == sum(
        map(len, blobs)
    )
    with BetonReader(tmp_path / "x.beton", verify=True) as reader:
        # in the order in which they came
        assert [reader.jpeg(i).tobytes() for i in range(5)] == blobs
        assert reader.ints["texture"].tolist() == [0, -1, -2, -3, -4] and reader.sizes[
            :, 0
        ].tolist() == [20, 21, 22, 23, 24]
        assert reader.classes == list("abcde") and reader.names == [f"shape{i}" for i in range(5)]
    for data, said in (
        (saved(PHOTO, "PNG"), "no JPEG"),
        (rotated(PHOTO, 6), r"sample 0 \(bad\) cannot be stored as it is: exif rotation"),
    ):
        with pytest.raises(BetonError, match=said):
            encode_samples(tmp_path / "y.beton", [(data, {"label": 0}, "bad")])
    assert {path.name for path in tmp_path.iterdir()} == {"x.beton", "x.beton.json"}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere(tmp_path, folder, monkeypatch, capsys):
    monkeypatch.setattr("fastneg.progress.PLAIN_LINE_S", 0.0)
    encode(config(tmp_path))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 70 and re.fullmatch(
        r"encode: 70/70 images, \d+ images/s, \d+\.\d MB/s, 0 s left", lines[-1]
    )
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with Progress("encode", 2) as progress:
        for _ in range(2):
            time.sleep(0.15)  # a bar is drawn ten times a second at most
            progress.advance(1, 10**6)
    assert re.search(r"encode: 100%.*2/2 .*image/s, \d+\.\d MB/s", terminal.getvalue())


def test_without_pillow_the_extra_is_named(tmp_path, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(BetonError, match=r"fastneg\[train\]"):
        encode(config(tmp_path))


def test_the_check_can_be_chosen(tmp_path, folder, monkeypatch):
    name = next(name for name in folder if "/dog/" in name)
    damaged = folder[name].replace(
        b"\xff\xc4\x00\x1f\x00\x00\x01\x05", b"\xff\xc4\x00\x1f\x00\x06\x00\x00", 1
    )  # no decoder takes this table
    assert damaged != folder[name]
    (tmp_path / "src" / name).write_bytes(damaged)
    (tmp_path / "src/train/cat/cut.jpg").write_bytes(jpeg(PHOTO)[:-500])
    for check, skipped in (
        ("decode", {name, "train/cat/cut.jpg"}),
        ("markers", {"train/cat/cut.jpg"}),
    ):
        summary = encode(config(tmp_path, check=check, on_error="skip"))
        assert {text.split(":")[0] for text in summary["skipped"]} == skipped and summary[
            "images"
        ] == 71 - len(skipped)
    with pytest.raises(
        ConfigError, match="--check is markers, which has no effect with --writer ffcv"
    ):
        config(tmp_path, check="markers", writer="ffcv")
