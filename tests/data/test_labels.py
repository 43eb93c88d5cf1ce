"""Classes of a file joined to those of another one: by name where there are names, by number where
the counts agree."""

import pytest

from fastneg.config import ConfigError
from fastneg.data.labels import ABSENT, class_map, join_labels, labels_of
from helpers.fake_data import fake


def test_join_by_name_permutes_and_drops():
    reader = fake([0, 1, 2, 0, 2], ["n3", "n9", "n1"])
    labels, joined = join_labels(reader, ["n1", "n2", "n3"], 3)
    assert joined.tolist() == [2, ABSENT, 0]
    assert labels.tolist() == [2, ABSENT, 0, 2, 0]


def test_join_by_number_needs_equal_counts():
    assert class_map(fake([0, 2, 1]), ["a", "b", "c"], 3).tolist() == [0, 1, 2]
    assert class_map(fake([0, 2, 1], ["c", "b", "a"]), None, 3).tolist() == [0, 1, 2]
    for reader, classes, count in (
        (fake([0, 1]), ["a", "b", "c"], 3),
        (fake([0, 1], ["a", "b"]), None, 3),
    ):
        with pytest.raises(ConfigError, match="has 2 classes, the classifier has 3"):
            class_map(reader, classes, count)


@pytest.mark.parametrize(
    ("reader", "classes", "said"),
    [
        (fake([0, 1], ["a", "b"]), ["c", "d"], "share no class"),
        (fake([0, 1], ["a", "a"]), ["a", "b"], "'a' more than once"),
        (fake([0, 1], ["a", "b"]), ["b", "b"], "'b' more than once"),
        (fake([1, 1], ["a", "b"]), ["a", "c"], "none of a class"),
    ],
)
def test_classes_that_cannot_be_joined(reader, classes, said):
    with pytest.raises(ConfigError, match=said):
        join_labels(reader, classes, 2)


@pytest.mark.parametrize(
    ("reader", "said"),
    [
        (fake(None, wnid=[1]), r"image \(image\), wnid \(int\)"),
        (fake([]), "no images"),
        (fake([0, 3], ["a", "b"]), "from 0 to 3"),
        (fake([-1, 0]), "from -1"),
    ],
)
def test_labels_that_cannot_be_used(reader, said):
    with pytest.raises(ConfigError, match=said):
        labels_of(reader)
