"""Accuracy, intervals and calibration, worked by hand and against NumPy and scikit-learn."""

import numpy as np
import pytest
import torch

from fastneg.data.labels import ABSENT
from fastneg.evaluation.accuracy import (
    Z,
    accuracy,
    answers,
    calibration_error,
    calibration_interval,
    columns_of,
    hit_interval,
    rank_of,
    share_interval,
)

LOGITS = torch.tensor(
    [
        [9.0, 8, 7, 6, 5, 4, 3],  # true 1: second of all
        [9.0, 1, 2, 8, 7, 6, 5],  # true 1: last of all, and after class 3 of those present
        [0.0, 0, 0, 5, 0, 0, 0],  # true 3: first
        [9.0, 9, 9, 9, 9, 9, 9],  # absent: does not count
    ]
)


def test_arg_max_over_all_and_over_present_classes():
    labels = torch.tensor([1, 1, 3, ABSENT])
    over_all, present = accuracy(LOGITS, labels), accuracy(LOGITS, labels, "present")
    assert (over_all.top1, over_all.top5) == (pytest.approx(100 / 3), pytest.approx(200 / 3))
    assert (present.top1, present.top5) == (pytest.approx(200 / 3), 100.0)
    assert (over_all.images, over_all.classes) == (present.images, present.classes) == (3, 2)


def test_rank_is_the_position_in_a_stable_sort():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 4, (200, 9), generator=generator).float()  # many ties
    labels = torch.randint(0, 9, (200,), generator=generator)
    order = scores.sort(dim=1, descending=True, stable=True).indices
    assert torch.equal(rank_of(scores, labels), (order == labels[:, None]).int().argmax(1))
    assert accuracy(torch.zeros(10, 5), torch.arange(10) % 5).top1 == 20.0, (
        "a classifier that cannot tell is at chance"
    )
    scores[0, 0] = float("nan")
    assert rank_of(scores, labels)[0] == 9


def test_a_class_without_votes_is_no_answer():
    votes, labels = torch.tensor([[0.0, 0.75, 0.25], [0.0, 1.0, 0.0]]), torch.tensor([2, 0])
    found = accuracy(votes, labels, above=0)
    assert (found.top1, found.top5) == (0.0, 50.0) and accuracy(votes, labels).top5 == 100.0


def test_accuracy_refuses_what_has_none():
    with pytest.raises(ValueError, match="None of 4 images"):
        accuracy(LOGITS, torch.full((4,), ABSENT))
    with pytest.raises(ValueError, match="all or present"):
        accuracy(LOGITS, torch.zeros(4, dtype=torch.int64), "some")


def test_the_interval_is_wilsons():
    """Its ends are the true shares p of which the observed share is Z deviations √(p(1-p)/n)."""
    hits = torch.arange(300) % 10 < 7
    for share, count in ((0.7, 300), (0.02, 50), (0.0, 9), (1.0, 9), (1 / 3, 7.5)):
        ends = np.roots([1 + Z**2 / count, -2 * share - Z**2 / count, share**2])
        assert share_interval(share, count) == pytest.approx(100 * np.sort(ends.real), abs=1e-5)
    assert hit_interval(hits) == share_interval(0.7, 300) and hit_interval(hits)[0] > 64
    assert share_interval(1.0, 9) == (pytest.approx(70.085, abs=1e-3), 100.0)
    assert share_interval(0.0, 9) == (0.0, pytest.approx(29.915, abs=1e-3))
    found = accuracy(LOGITS, torch.tensor([1, 1, 3, ABSENT]))
    assert found.top1_interval[0] <= found.top1 <= found.top1_interval[1] and found.figures()[
        "top5_interval"
    ] == [*found.top5_interval]


@pytest.mark.parametrize(("accuracy", "images"), [(0.3, 200), (0.8, 600), (0.98, 60)])
def test_intervals_cover_the_true_accuracy_as_often_as_they_say(accuracy, images):
    rng = np.random.default_rng(0)
    intervals = [hit_interval(torch.from_numpy(rng.random(images) < accuracy)) for _ in range(600)]
    covered = np.mean([low <= 100 * accuracy <= high for low, high in intervals])
    assert 0.92 < covered < 0.98, covered  # 95% less or more three standard errors of 600 draws


def test_calibration_error_is_the_plain_definition():
    generator = torch.Generator().manual_seed(1)
    confidence = torch.cat([torch.rand(500, generator=generator), torch.tensor([1.0, 0.0])])
    right = torch.rand(502, generator=generator) < confidence**2
    expected = 0.0
    for low in range(15):
        inside = [
            i
            for i, value in enumerate(confidence.tolist())
            if low <= 15 * value < low + 1 or (low == 14 and value == 1)
        ]
        if inside:
            gap = sum(right[i].item() for i in inside) / len(inside) - sum(
                confidence[i].item() for i in inside
            ) / len(inside)
            expected += abs(gap) * len(inside) / 502
    assert calibration_error(confidence, right) == pytest.approx(100 * expected) and expected > 0.1


def test_calibration_error_worked_by_hand():
    # bin 14/15 to 1: two images, mean confidence .95, one right: gap .45; bin 6/15 to 7/15: one
    # image of .42, right: gap .58.
    confidence, right = torch.tensor([0.94, 0.96, 0.42]), torch.tensor([True, False, True])
    assert calibration_error(confidence, right) == pytest.approx(100 * (2 * 0.45 + 0.58) / 3)
    assert calibration_error(torch.ones(5), torch.ones(5, dtype=torch.bool)) == pytest.approx(0)
    assert calibration_error(
        torch.ones(4), torch.tensor([True, False, False, False])
    ) == pytest.approx(75)
    rng = torch.Generator().manual_seed(0)
    honest = torch.rand(100_000, generator=rng)
    assert calibration_error(honest, torch.rand(100_000, generator=rng) < honest) < 1


def test_answers_over_all_and_over_present_classes():
    labels = torch.tensor([1, 1, 3, ABSENT])
    predicted, confidence = answers(LOGITS)
    assert predicted.tolist() == [0, 0, 3, 0] and confidence[3].item() == pytest.approx(1 / 7)
    predicted, confidence = answers(LOGITS, columns_of(labels, "present"))
    assert predicted.tolist() == [1, 3, 3, 1] and confidence[3].item() == pytest.approx(1 / 2)


def test_the_interval_of_the_calibration_error_covers_what_other_images_give():
    """Against fresh samples of one distribution, whose confidence is 20 points too high."""
    rng = torch.Generator().manual_seed(0)

    def sample(count=400):
        confidence = 0.4 + 0.6 * torch.rand(count, generator=rng)
        return confidence, torch.rand(count, generator=rng) < confidence - 0.2

    confidence, right = sample()
    low, high = calibration_interval(confidence, right)
    assert low < calibration_error(confidence, right) < high
    assert (low, high) == calibration_interval(confidence, right), "drawn with one seed"
    spread = np.quantile([calibration_error(*sample()) for _ in range(200)], [0.025, 0.975])
    assert high - low == pytest.approx(spread[1] - spread[0], rel=0.35)
    more = calibration_interval(*sample(6400))
    assert more[1] - more[0] == pytest.approx((high - low) / 4, rel=0.4), "four times as narrow"


def test_the_interval_of_the_calibration_error_stays_in_bounds():
    sure, right = torch.ones(5), torch.ones(5, dtype=torch.bool)
    assert calibration_interval(sure, right) == (0.0, 0.0)
    assert calibration_interval(sure, ~right) == (100.0, 100.0)
