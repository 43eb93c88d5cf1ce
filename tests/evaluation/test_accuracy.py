"""Accuracy, intervals and calibration, worked by hand and against NumPy and scikit-learn."""

import numpy as np
import pytest
import torch

from fastneg.data.labels import ABSENT
from fastneg.evaluation.accuracy import (
    accuracy,
    answers,
    calibration_error,
    calibration_interval,
    columns_of,
    hit_interval,
    rank_of,
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


def test_accuracy_refuses_what_has_none():
    with pytest.raises(ValueError, match="None of 4 images"):
        accuracy(LOGITS, torch.full((4,), ABSENT))
    with pytest.raises(ValueError, match="all or present"):
        accuracy(LOGITS, torch.zeros(4, dtype=torch.int64), "some")


def test_the_interval_is_that_of_resampled_images():
    hits = torch.arange(300) % 10 < 7
    low, high = hit_interval(hits)
    rng = np.random.default_rng(1)
    means = [100 * hits.numpy()[rng.integers(0, 300, 300)].mean() for _ in range(4000)]
    assert (low, high) == (
        pytest.approx(np.quantile(means, 0.025), abs=0.6),
        pytest.approx(np.quantile(means, 0.975), abs=0.6),
    )
    assert low < 70 < high and hit_interval(torch.ones(9, dtype=torch.bool)) == (100.0, 100.0)
    found = accuracy(LOGITS, torch.tensor([1, 1, 3, ABSENT]))
    assert found.top1_interval[0] <= found.top1 <= found.top1_interval[1] and found.figures()[
        "top5_interval"
    ] == [*found.top5_interval]


@pytest.mark.parametrize(("accuracy", "images"), [(0.3, 200), (0.8, 600)])
def test_intervals_cover_the_true_accuracy_as_often_as_they_say(accuracy, images):
    rng = np.random.default_rng(0)
    intervals = [hit_interval(torch.from_numpy(rng.random(images) < accuracy)) for _ in range(600)]
    covered = np.mean([low <= 100 * accuracy <= high for low, high in intervals])
    assert 0.925 < covered < 0.975, covered  # 95% less or more three standard errors of 600 draws


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
