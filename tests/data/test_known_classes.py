"""The lists of classes are the published ones, and numbers are places in a known order."""

import pytest

from fastneg.data.known_classes import CIFAR10, CIFAR100, IMAGENET, IMAGENET100, numbered_names
from fastneg.evaluation.sets.categories_16 import CATEGORIES_16


def test_the_lists_of_classes_are_the_published_ones():
    assert len(set(IMAGENET)) == 1000 and list(IMAGENET) == sorted(IMAGENET)
    assert set(IMAGENET100) < set(IMAGENET)
    assert {wnid for ids in CATEGORIES_16.values() for wnid in ids} < set(IMAGENET)
    assert list(CIFAR10) == sorted(CIFAR10) and len(CIFAR10) == 10
    assert list(CIFAR100) == sorted(CIFAR100) and len(set(CIFAR100)) == 100
    timm = pytest.importorskip("timm.data")
    assert list(IMAGENET) == timm.ImageNetInfo().label_names()


def test_numbers_are_places_in_a_known_order_and_never_of_sorted_text():
    assert numbered_names(["0", "1", "10"], ["n01440764"]) == (
        "ImageNet",
        [IMAGENET[0], IMAGENET[1], IMAGENET[10]],
    )
    assert numbered_names(["000", "009"], ["bird"]) == ("CIFAR-10", ["airplane", "truck"])
    assert numbered_names(["0", "99"], ["apple", "worm"]) == ("CIFAR-100", ["apple", "worm"])
    for numbers, classes in (
        (["0", "1000"], IMAGENET),  # no place of ImageNet's
        (["0", "1"], ["cat", "dog", "zebra crossing"]),  # of no known collection
        (["0", "1"], ["0", "1"]),  # joined as they are
        (["0", "n1"], IMAGENET),
        (["0"], None),
        ([], IMAGENET),
    ):
        assert numbered_names(numbers, classes) is None
