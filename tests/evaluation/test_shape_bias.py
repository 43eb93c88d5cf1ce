"""Shape bias and coverage on tables worked by hand."""

import numpy as np
import pytest
import torch

from fastneg.evaluation.shape_bias import shape_bias

CAT, DOG, CAR = 0, 1, 2


def certain(*answers, classes=3):
    return torch.eye(classes)[list(answers)]


def test_a_table_worked_by_hand():
    # shape     cat  cat  cat  dog  dog  car  car  (car wears its own texture: dropped)
    # texture   dog  dog  car  cat  car  cat  car
    # answer    cat  dog  dog  dog  car  cat  car
    #           S    T    -    S    T    T
    probabilities = certain(CAT, DOG, DOG, DOG, CAR, CAT, CAR)
    shape = torch.tensor([CAT, CAT, CAT, DOG, DOG, CAR, CAR])
    texture = torch.tensor([DOG, DOG, CAR, CAT, CAR, CAT, CAR])
    found = shape_bias(probabilities, shape, texture, {"cat": [0], "dog": [1], "car": [2]})
    assert found.images == 6
    assert found.shape_bias == pytest.approx(100 * 2 / 5)
    assert found.coverage == pytest.approx(100 * 5 / 6)
    assert found.by_category == {
        "cat": {"shape": 1, "texture": 1, "other": 1},
        "dog": {"shape": 1, "texture": 1, "other": 0},
        "car": {"shape": 0, "texture": 1, "other": 0},
    }


def test_a_category_answers_by_the_mean_of_its_classes():
    # Category "many" has three classes of .2 (sum .6, mean .2), "one" a single class of .4: by sums
    # "many" would win.
    probabilities = torch.tensor([[0.2, 0.2, 0.2, 0.4]])
    categories = {"many": [0, 1, 2], "one": [3]}
    assert (
        shape_bias(probabilities, torch.tensor([1]), torch.tensor([0]), categories).shape_bias
        == 100.0
    )
    assert (
        shape_bias(probabilities, torch.tensor([0]), torch.tensor([1]), categories).shape_bias
        == 0.0
    )


def test_classes_outside_the_categories_do_not_answer():
    probabilities = torch.tensor([[0.9, 0.06, 0.04]])
    found = shape_bias(
        probabilities, torch.tensor([0]), torch.tensor([1]), {"dog": [1], "car": [2]}
    )
    assert found.shape_bias == 100.0 and found.coverage == 100.0


def test_without_categories_each_class_is_one():
    found = shape_bias(certain(0, 2), torch.tensor([0, 0]), torch.tensor([1, 1]))
    assert (found.shape_bias, found.coverage) == (100.0, 50.0)
    assert found.by_category == {0: {"shape": 1, "texture": 0, "other": 1}}


def test_no_decision_is_no_shape_bias():
    found = shape_bias(certain(2), torch.tensor([0]), torch.tensor([1]))
    assert found.shape_bias is None and found.coverage == 0.0


@pytest.mark.parametrize(
    ("probabilities", "shape", "texture", "categories", "said"),
    [
        (certain(0), [1], [1], None, "none of 1 image"),
        (certain(0), [0, 1], [1, 0], None, "for each image"),
        (certain(0) * 4, [0], [1], None, "softmax"),
        (torch.tensor([[1.5, -0.5, 0.0]]), [0], [1], None, "softmax"),
        (torch.tensor([[float("nan")] * 3]), [0], [1], None, "softmax"),
        (certain(0), [0], [-1], None, "texture labels"),
        (certain(0), [3], [1], None, "shape labels"),
        (certain(0), [0], [1], {"a": [0], "b": []}, "Category 'b'"),
        (certain(0), [0], [1], {"a": [0], "b": [3]}, "0 to 2"),
    ],
)
def test_what_cannot_be_is_refused(probabilities, shape, texture, categories, said):
    with pytest.raises(ValueError, match=said):
        shape_bias(probabilities, torch.tensor(shape), torch.tensor(texture), categories)


def test_the_interval_is_that_of_resampled_images():
    rng = np.random.default_rng(0)
    answer = torch.from_numpy(rng.choice([0, 1, 2], 400, p=[0.3, 0.5, 0.2]))
    found = shape_bias(
        torch.eye(3)[answer],
        torch.zeros(400, dtype=torch.int64),
        torch.ones(400, dtype=torch.int64),
    )
    samples = answer.numpy()[rng.integers(0, 400, (4000, 400))]
    shares = 100 * (samples == 0).sum(1) / (samples < 2).sum(1)
    assert found.interval == pytest.approx(np.quantile(shares, [0.025, 0.975]).tolist(), abs=0.7)
    assert found.figures()["shape_bias_interval"] == [*found.interval]
    shape, texture = torch.tensor([0]), torch.tensor([1])
    assert shape_bias(certain(0), shape, texture).interval == (pytest.approx(20.65, abs=0.01), 100)
    assert "shape_bias_interval" not in shape_bias(certain(2), shape, texture).figures(), (
        "no decision, no interval"
    )
