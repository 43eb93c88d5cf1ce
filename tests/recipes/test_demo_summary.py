"""The last lines of the demo: figures side by side, and what one seed is worth."""

import re

import pytest

from fastneg.recipes.demo_summary import claim, summary
from fastneg.study.plan import SEED_SD
from fastneg.study.statistics import power


def arm(in_domain, swapped=None, bias=None, low=None):
    probe = {
        "top1": in_domain,
        "classes": 12,
        "top1_interval": [low or in_domain - 2, in_domain + 2],
    }
    found = {("linear", "val"): probe}
    if swapped is not None:
        found["accuracy", "swapped"] = {"top1": swapped}
    if bias is not None:
        found["shape_bias", "swapped"] = {"shape_bias": bias, "coverage": 60.0}
    return found


def test_the_arms_stand_side_by_side():
    results = {
        "none": arm(83.3, 28.3, 47.4),
        "patch": arm(85.2, 36.0, 60.7),
        "untrained": arm(38.5),
    }
    lines = summary(results)
    assert lines[0].split() == ["top-1,", "%", "untrained", "none", "patch", "difference"]
    assert lines[1].split()[:6] == ["in", "domain", "38.5", "83.3", "85.2", "+1.9"]
    assert lines[2].split()[:4] == ["swapped", "28.3", "36.0", "+7.7"]  # the untrained one has none
    assert any("60.7" in line and "+13.3" in line for line in lines)
    assert "(17% by chance)" in next(line for line in lines if line.startswith("coverage"))
    assert not any(line.startswith("kNN") for line in lines)
    assert "Guessing gets 8.3%." in lines and not any("NOTE" in line for line in lines)


def test_an_encoder_that_learned_nothing_is_told():
    lines = summary({"none": arm(83.0), "patch": arm(39.0), "untrained": arm(38.5)})
    (note,) = (line for line in lines if line.startswith("NOTE"))
    assert note.startswith("NOTE: the arm patch is at or below an untrained encoder")
    assert not any("evidence" in line for line in lines)  # without the swapped set


def seeds(lines, effect):
    return int(re.search(rf"(?<![\d.]){effect:g} points take (\d+) seed", " ".join(lines))[1])


@pytest.mark.parametrize("difference", [7.7, -4.2, 1.1])
def test_the_seeds_that_a_claim_takes_have_the_power_that_is_said(difference):
    for effect in (abs(difference), 2.0):
        count = seeds(claim(difference), effect)
        assert power(effect, SEED_SD, count) >= 0.8
        assert count == 2 or power(effect, SEED_SD, count - 1) < 0.8


def test_a_difference_that_no_study_would_find_has_no_number():
    assert "more than 100 seeds" in claim(0.1)[-1]
    assert " 0 points" not in claim(0.0)[-1]
