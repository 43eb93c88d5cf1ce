"""How a corruption is declared: its constants stand above its formula, for three sizes of image.

The constants for 224 px are ImageNet-C's, those for 64 and 32 px are the milder ones of
Tiny-ImageNet-C and CIFAR-10-C.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

SEVERITIES = (1, 2, 3, 4, 5)
PUBLISHED = {224: "ImageNet-C", 64: "Tiny-ImageNet-C", 32: "CIFAR-10-C"}
"""{side in pixels: the test set that is published at it, whose constants these are}"""
SIZES = tuple(PUBLISHED)


@dataclass(frozen=True)
class Corruption:
    name: str
    function: Callable
    """(images, constant) → images; with draws as a third argument where it is random.

    The result may leave 0 … 1.
    """
    constants: dict
    """{side of SIZES: five constants}"""
    random: bool


def corruption(large, medium=None, small=None, *, random=False):
    """Declare a corruption by its five constants at 224, 64 and 32 px.

    What is not given is as at 224 px.
    """
    constants = dict(zip(SIZES, (large, medium or large, small or large), strict=True))
    assert all(len(five) == len(SEVERITIES) for five in constants.values())

    def declare(function):
        return Corruption(function.__name__, function, constants, random)

    return declare


def nearest_size(height, width):
    """The side of SIZES whose constants suit an image.

    It is the nearest to the shorter side, on a scale of ratios.
    """
    side = min(height, width)
    return next(
        (large for large, less in itertools.pairwise(SIZES) if side**2 >= large * less), SIZES[-1]
    )
