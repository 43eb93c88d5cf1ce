"""Accuracy by class and by group, on tables worked by hand and against scikit-learn; an answer that
takes most of a set is told, whatever is right."""

import pytest
import torch
from sklearn.metrics import precision_score, recall_score

from fastneg.evaluation.by_class import (
    answer_shares,
    class_accuracies,
    group_accuracies,
    most_answered,
    takes_most,
    told_of_default,
)


def test_accuracy_by_class_and_by_group():
    labels, predicted = torch.tensor([2, 0, 2, 2]), torch.tensor([2, 2, 2, 1])
    found = class_accuracies(predicted, labels, ["a", "b", "c"])
    assert found == {
        "a": {"top1": 0.0, "images": 1, "precision": None, "answered": 0.0},
        "c": {
            "top1": pytest.approx(200 / 3),
            "images": 3,
            "precision": pytest.approx(200 / 3),
            "answered": 75.0,
        },
    }
    assert answer_shares(predicted, labels, ["a", "b", "c"]) == {
        "most_answered": {"class": "c", "answered": 75.0, "images": 75.0},
        "answered_elsewhere": 25.0,
    }
    assert list(class_accuracies(predicted, labels, None)) == ["0", "2"]
    groups = group_accuracies(found, {"both": ["a", "c"], "one": ["c", "z"], "none": ["b"]})
    assert groups == {
        "both": {"top1": pytest.approx(100 / 3), "images": 4, "classes": 2, "answered": 75.0},
        "one": {"top1": pytest.approx(200 / 3), "images": 3, "classes": 1, "answered": 75.0},
    }


def test_a_default_answer_has_full_recall_and_low_precision():
    """Everything is called 0, against scikit-learn's precision and recall; a class that nobody
    names has no precision."""
    labels = torch.arange(12) % 4
    predicted = torch.zeros(12, dtype=torch.int64)
    predicted[[1, 5]] = 1
    found = class_accuracies(predicted, labels, None)
    truth = [
        100 * values(labels, predicted, average=None, zero_division=0)
        for values in (recall_score, precision_score)
    ]
    assert [own["top1"] for own in found.values()] == pytest.approx(truth[0].tolist())
    assert [own["precision"] or 0 for own in found.values()] == pytest.approx(truth[1].tolist())
    assert (
        found["0"]["top1"] == 100
        and found["0"]["precision"] == pytest.approx(30)
        and found["2"]["precision"] is None
    )
    assert sum(own["answered"] for own in found.values()) == pytest.approx(100)
    shares = answer_shares(predicted, labels, None)
    most = {"answered": pytest.approx(1000 / 12), "images": 25.0}
    assert shares == {"most_answered": {"class": "0", **most}, "answered_elsewhere": 0.0}
    beyond = answer_shares(predicted + 7, labels, [*"abcdefghij"])
    none_of_it = {"class": "h", **most, "images": 0.0}
    assert beyond == {"most_answered": none_of_it, "answered_elsewhere": 100.0}


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
