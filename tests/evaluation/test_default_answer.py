"""A default answer has full recall and little precision, and is told."""

import pytest
import torch

from fastneg.evaluation.by_class import (
    class_accuracies,
)
from fastneg.evaluation.default_answer import most_answered, takes_most, told_of_default


def test_the_default_answer_has_full_recall_and_little_precision():
    """As a collapsed classifier answered: ring to 394 of 600 images, 50 of them rings."""
    labels = torch.arange(12).repeat_interleave(50)
    predicted = torch.cat([torch.zeros(394, dtype=torch.int64), labels[394:]])
    names = ["ring", *"abcdefghijk"]
    ring = class_accuracies(predicted, labels, names)["ring"]
    assert ring["top1"] == 100 and ring["answered"] == pytest.approx(65.67, abs=0.01)
    assert ring["precision"] == pytest.approx(12.69, abs=0.01)
    found = most_answered(predicted, labels, names)
    assert found == {
        "class": "ring",
        "answered": ring["answered"],
        "images": pytest.approx(8.33, abs=0.01),
    }
    assert (
        told_of_default(found)
        == "one answer takes most: 66% of the answers are ring, 8% of the images"
    )


@pytest.mark.parametrize(
    ("answered", "images", "default"),
    [
        (55, 50, False),
        (66, 60, False),
        (66, 50, True),
        (100, 100, False),
        (30, 8, True),
        (30, 20, False),
        (20, 1, False),
    ],
)
def test_a_common_answer_is_no_default_where_the_images_are_of_it(answered, images, default):
    found = {"class": "x", "answered": float(answered), "images": float(images)}
    assert takes_most(found) == default == bool(told_of_default(found))
