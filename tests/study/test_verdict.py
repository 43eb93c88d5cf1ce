"""The verdict's words on made results of each kind."""

import pytest

from fastneg.study.verdict import WORDS, judge, sentence

NOISE = (0.3, -0.4, 0.1, -0.2, 0.5, -0.3, 0.0, 0.2, -0.1, -0.1)


def rows(plain, treatment, control, seeds=10, untrained=38.0, noise=1.0):
    """Runs of three arms, each given as (in domain, swapped, shape bias)."""
    made = []
    for arm, figures in (("none", plain), ("patch", treatment), ("random_image", control)):
        shift = {"none": 0, "patch": 3, "random_image": 7}[arm]
        for seed in range(seeds):
            wobble = noise * NOISE[(seed * 3 + shift) % 10]
            made.append({
                "arm": arm, "seed": seed, "untrained": untrained,
                **{name: value + wobble
                   for name, value in zip(("in_domain", "swapped", "shape_bias"), figures,
                                          strict=True)},
            })  # fmt: skip
    return made


PLAIN = (83.0, 28.0, 47.0)
CASES = {
    "supported": rows(PLAIN, (83.2, 34.0, 58.0), (82.8, 28.5, 48.0)),
    # It helps, but no more than any extra negative does.
    "not supported": rows(PLAIN, (83.0, 34.0, 58.0), (83.0, 34.0, 58.0)),
    # The mean is above zero, and the seeds scatter.
    "undecided": rows(PLAIN, (83.0, 30.0, 50.0), (83.0, 28.0, 47.0), noise=12.0),
    "invalid arm": rows(PLAIN, (37.0, 20.0, 40.0), (83.0, 28.0, 47.0)),
    "not trained": rows((74.0, 28.0, 47.0), (83.0, 40.0, 60.0), (74.0, 28.0, 47.0)),
}


@pytest.mark.parametrize("word", WORDS)
def test_each_word_has_its_results(word):
    verdict = judge(CASES[word])
    assert verdict.word == word and verdict.seeds == tuple(range(10))
    said = sentence(verdict, "SimCLR, 64 px")
    assert said.startswith(word.capitalize()) and "10 seeds; SimCLR, 64 px" in said


def test_twice_the_untrained_encoder_is_needed():
    assert judge(rows(PLAIN, PLAIN, PLAIN, untrained=45.0)).word == "not trained"


def test_a_cost_in_domain_is_not_traded_for_shape():
    costly = rows(PLAIN, (80.0, 40.0, 60.0), PLAIN)
    assert judge(costly).word == "not supported" and "in domain" in judge(costly).reason
    maybe = rows(PLAIN, (82.5, 40.0, 60.0), PLAIN, noise=3.0)
    assert judge(maybe).word == "undecided" and "in domain" in judge(maybe).reason


def test_one_outcome_alone_does_not_support():
    assert judge(rows(PLAIN, (83.0, 34.0, 47.2), PLAIN)).word == "not supported"
    wide = rows(PLAIN, (83.0, 45.0, 48.5), PLAIN, noise=6.0)
    assert judge(wide).word == "undecided" and "shape bias" in judge(wide).reason


def test_only_whole_blocks_count():
    partial = [row for row in CASES["supported"] if row["arm"] != "patch" or row["seed"] < 4]
    assert judge(partial).seeds == (0, 1, 2, 3)
    one = [row for row in CASES["supported"] if row["seed"] == 0]
    assert judge(one).word == "undecided" and judge(one).comparisons == ()
    assert judge([]).seeds == ()


def test_order_and_other_arms_do_not_matter():
    mixed = [*reversed(CASES["supported"]), {"arm": "texture", "seed": 0}]
    assert judge(mixed) == judge(CASES["supported"])


def test_holms_correction_is_used():
    verdict = judge(CASES["supported"])
    for against in ("none", "random_image"):
        own = [c for c in verdict.comparisons if c.against == against and c.adjusted_p is not None]
        smaller, larger = sorted(own, key=lambda c: c.paired.p)
        assert smaller.adjusted_p == pytest.approx(min(1, 2 * smaller.paired.p))
        assert larger.adjusted_p >= larger.paired.p


def test_a_run_without_shape_bias_leaves_it_open():
    """None of its answers names either cue: its seed is not dropped, for that would be a choice."""
    open_ = [dict(row) for row in CASES["supported"]]
    open_[13]["shape_bias"] = None
    verdict = judge(open_)
    assert verdict.word == "undecided" and verdict.comparisons == ()
    assert "patch, seed 3 has no shape bias" in verdict.reason and 3 in verdict.seeds


@pytest.mark.parametrize("fault", ["twice", "without"])
def test_rows_that_cannot_be_are_refused(fault):
    broken = rows(PLAIN, PLAIN, PLAIN)
    broken.append(dict(broken[0])) if fault == "twice" else broken[0].pop("swapped")
    with pytest.raises(ValueError, match="twice" if fault == "twice" else "no swapped"):
        judge(broken)
