"""What a call has decided: the files it writes, what their .json say of each other, and their
origin."""

from pathlib import Path

import numpy as np
import pytest

from fastneg.config import EncodeConfig
from fastneg.data.encode.holdout import Holdout
from fastneg.data.encode.job import Job, origin_of
from fastneg.version import __version__

OUTS = [Path("a/x.beton"), Path("b/y.beton")]


def job(holdout):
    config = EncodeConfig("src", "a/x.beton", holdout=holdout, seed=7)
    sides = None if holdout is None else Holdout([0] * 6, holdout, 6)
    return Job(config, OUTS[: 1 + (holdout is not None)], None, np.arange(6), {}, None, {}, sides)


def test_one_file_says_nothing_of_another():
    assert job(None).parts == [(OUTS[0], {})]
    assert [job(None).side(0, bytes([i])) for i in range(6)] == [0] * 6


@pytest.mark.parametrize(("holdout", "what"), [(0.5, "share"), (2, "count")])
def test_two_files_name_each_other(holdout, what):
    told = {what: holdout, "seed": 7}
    assert job(holdout).parts == [
        (OUTS[0], {"holdout": {**told, "part": "train", "other": "y.beton"}}),
        (OUTS[1], {"holdout": {**told, "part": "holdout", "other": "x.beton"}}),
    ]


def test_an_image_goes_where_the_holdout_says():
    half = job(0.5)
    sides = [half.side(0, bytes([i])) for i in range(6)]
    assert sorted(sides) == [0, 0, 0, 1, 1, 1] and all(type(side) is int for side in sides)


def test_the_origin_holds_versions_and_settings():
    origin = origin_of(EncodeConfig("src", "x.beton", quality=80))
    assert origin["writer"] == f"fastneg {__version__}" and origin["encode"]["quality"] == 80
    assert origin["versions"]["numpy"] == np.__version__
    assert origin_of(None)["encode"] is None
