"""FFCV's writer in its process: what it writes is whole, and what fails in it is told."""

import numpy as np
import pytest

from fastneg.config import EncodeConfig
from fastneg.data import BetonError, BetonReader
from fastneg.data.encode.ffcv_process import run_ffcv
from fastneg.progress import Progress
from helpers.images import jpeg, photo


def run(tmp_path, *files):
    paths = []
    for number, data in enumerate(files):
        paths.append(str(tmp_path / f"{number}.jpg"))
        (tmp_path / f"{number}.jpg").write_bytes(data)
    config = EncodeConfig(str(tmp_path), "x.beton", writer="ffcv", ffcv_mode="jpg", workers=1)
    run_ffcv(config, tmp_path / "x.beton", paths, [3] * len(paths), 1 << 21, Progress("test"))


def test_the_file_is_whole(tmp_path):
    run(tmp_path, *[jpeg(photo(np.random.default_rng(0), 16, 24))] * 3)
    with BetonReader(tmp_path / "x.beton") as reader:
        assert reader.sizes.tolist() == [[16, 24]] * 3 and reader.labels.tolist() == [3] * 3


def test_a_sample_that_fails_is_named(tmp_path):
    with pytest.raises(BetonError, match=r"FFCV's writer failed: .*0\.jpg cannot be used"):
        run(tmp_path, b"no image")
