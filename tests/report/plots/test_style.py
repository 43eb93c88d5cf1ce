"""What all plots share: the colours of the page, names that fit, colours that all tell apart."""

import itertools
import re

import numpy as np
import pytest

from fastneg.report.blocks import Cell
from fastneg.report.plots import accuracy, style
from helpers.plots import parsed, svg_of


def test_plots_take_all_colours_from_the_page():
    series = [{"a": Cell(10.0 * n, interval=(9.0 * n, 11.0 * n))} for n in range(8)]
    svg = svg_of(accuracy.bars, ["a"], series, {"a": 50.0})
    used = {
        color
        for element in parsed(svg).iter()
        for color in re.findall(r"(?:fill|stroke): ([^;]+)", element.get("style", ""))
    }
    assert used <= {
        "none",
        "var(--ink)",
        "var(--muted)",
        "var(--line)",
        *(f"var(--series-{n})" for n in range(style.SERIES)),
    }
    assert {f"var(--series-{n})" for n in range(style.SERIES)} <= used
    assert "http" not in svg and "<metadata" not in svg and 'aria-label="label"' in svg


def test_long_names_lose_what_tells_least():
    assert style.short_names(["short", "x" * 28]) == ["short", "x" * 28]
    (only,) = style.short_names(["moco_patch_resnet50_in100_200epochs_lr0.03_alpha2"])
    assert only.startswith("moco_patch_re") and only.endswith("lr0.03_alpha2") and len(only) == 28
    middle = [f"moco_patch_resnet50_in100_alpha{n}_200epochs_lr0.03_warmup_10" for n in (2, 3)]
    assert ["alpha2" in name or "alpha3" in name for name in style.short_names(middle)] == [
        True,
        True,
    ]
    assert (
        len(set(style.short_names(middle))) == 2 and max(map(len, style.short_names(middle))) <= 28
    )
    assert style.short_names(["y" * 40] * 2) == [style.short_names(["y" * 40])[0]] * 2


def linear(colour):
    parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIE L*a*b* of linear sRGB, D65."""
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    scaled = to_xyz @ np.clip(rgb, 0, 1) / (0.9505, 1.0, 1.089)
    x, y, z = np.where(scaled > 0.008856, np.cbrt(scaled), 7.787 * scaled + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


SIGHT = {  # Machado, Oliveira, Fernandes 2009, severity 1
    "usual": np.eye(3),
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("palette", [style.LIGHT, style.DARK])
def test_colours_are_told_apart_by_everyone(sight, palette):
    seen = [lab(np.asarray(SIGHT[sight]) @ linear(colour)) for colour in palette]
    assert min(np.linalg.norm(one - other) for one, other in itertools.combinations(seen, 2)) > 10
