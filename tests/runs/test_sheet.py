"""A page of pictures keeps their pixels."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from fastneg.runs import sheet
from fastneg.runs.sheet import Line, Tile, sheet_html, sheet_png

RNG = np.random.default_rng(0)
SMALL, LARGE = (RNG.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in (20, 150))
LINES = [
    Line("first", (Tile(SMALL, "a < b"), Tile(LARGE, "long " * 40))),
    Line("second", (Tile(LARGE, "c"),)),
]


def test_png():
    file = io.BytesIO()
    sheet_png("title", LINES, file)
    page = np.asarray(Image.open(file))
    left, top = sheet.GAP, 3 * sheet.LINE
    shown = page[top : top + 120, left : left + 120]  # 20 px enlarged six times
    assert np.array_equal(shown[::6, ::6], SMALL) and np.array_equal(shown[5::6, 5::6], SMALL)
    second = left + max(120, 150) + sheet.GAP  # columns are as wide as their widest tile
    assert np.array_equal(page[top : top + 150, second : second + 150], LARGE)


def test_html():
    file = io.BytesIO()
    sheet_html("<title>", LINES, file)
    text = file.getvalue().decode()
    data = [base64.b64decode(each) for each in re.findall(r"base64,([^\"]+)\"", text)]
    found = [np.asarray(Image.open(io.BytesIO(each))) for each in data]
    for picture, expected in zip(found, (SMALL, LARGE, LARGE), strict=True):
        assert np.array_equal(picture, expected)
    assert "a &lt; b" in text and "<h1>&lt;title&gt;</h1>" in text and "http" not in text


@pytest.mark.parametrize(("side", "factor"), [(20, 6), (112, 1), (111, 2), (500, 1)])
def test_small_pictures_are_enlarged_by_whole_numbers(side, factor):
    assert sheet._factor(np.zeros((side, 10, 3))) == factor
