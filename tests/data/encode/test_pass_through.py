"""Our writer alone: one file or two, from sources that a program names."""

from collections import Counter

import numpy as np
import pytest

from fastneg.config import EncodeConfig
from fastneg.data import BetonError, BetonReader
from fastneg.data.encode.holdout import Holdout
from fastneg.data.encode.job import Job
from fastneg.data.encode.pass_through import pass_through
from fastneg.data.encode.sources import Sources
from fastneg.progress import Progress
from helpers.images import jpeg, photo, saved

RNG = np.random.default_rng(0)
FILES = {f"{i}": jpeg(photo(RNG, 16, 16 + i)) for i in range(8)}


def write(tmp_path, files, textures=None, holdout=None, **options):
    names = list(files)
    sources = Sources(["a"], names, [0] * len(names), 0, {}, names, files.__getitem__)
    config = EncodeConfig("src", str(tmp_path / "x.beton"), workers=1, holdout=holdout, **options)
    outs = [tmp_path / name for name in ("x.beton", "y.beton")[: 1 + (holdout is not None)]]
    sides = None if holdout is None else Holdout(sources.labels, holdout, len(names))
    done = {"passed_through": 0, "re_encoded": Counter(), "textures_re_encoded": Counter()}
    done["skipped"] = []
    with Progress("test") as progress:
        job = Job(config, outs, sources, np.arange(len(names)), done, progress, {}, sides)
        return pass_through(job, textures), done


def stored(path):
    with BetonReader(path, verify=True) as reader:
        return {name: bytes(reader.stored(i)) for i, name in enumerate(reader.names)}


def test_bytes_pass_through_in_order(tmp_path):
    (images, size), done = write(tmp_path, FILES)
    assert stored(tmp_path / "x.beton") == FILES and done["passed_through"] == images == 8
    assert size == sum(map(len, FILES.values()))


def test_two_files_share_the_images(tmp_path):
    (images, _), done = write(tmp_path, FILES, holdout=3)
    train, held = stored(tmp_path / "x.beton"), stored(tmp_path / "y.beton")
    assert {**train, **held} == FILES and len(held) == 3 and len(train) == 5 == images - 3
    assert done["holdout"]["path"] == str(tmp_path / "y.beton")


def test_what_cannot_pass_is_counted(tmp_path):
    pixels = photo(RNG, 8, 8)
    _, done = write(
        tmp_path, {"a": saved(pixels, "PNG")}, lambda names, files: [saved(pixels, "PNG")]
    )
    assert (done["re_encoded"], done["textures_re_encoded"]) == ({"png": 1}, {"png": 1})


def test_what_cannot_be_used_stops_or_is_skipped(tmp_path):
    with pytest.raises(BetonError, match="bad of src cannot be used"):
        write(tmp_path, {"bad": b"nothing"})
    assert not list(tmp_path.iterdir())
    (images, _), done = write(tmp_path, {"bad": b"nothing", **FILES}, on_error="skip")
    assert images == 8 and done["skipped"][0].startswith("bad: ")
