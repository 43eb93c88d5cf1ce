"""Normalisation of pixels for a network: (pixel / 255 - mean) / std, per channel."""

from __future__ import annotations

import math
from typing import NamedTuple

from fastneg.options import ConfigError

INTERPOLATIONS = ("bilinear", "bicubic")


class Normalisation(NamedTuple):
    """Red, green and blue, of pixels in 0 … 1."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __str__(self):
        mean, std = (",".join(f"{value:.4g}" for value in values) for values in self)
        return f"mean {mean} std {std}"

    def near(self, other):
        """Whether both are the same but for digits that nobody sees in a pixel."""
        pairs = zip((*self.mean, *self.std), (*other.mean, *other.std), strict=True)
        return all(math.isclose(one, two, abs_tol=1e-4) for one, two in pairs)


IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""ImageNet's own mean and deviation: what torchvision's weights take, and most others."""


def three_numbers(name, value):
    """Three floats of a tuple, a list, or a text such as 0.5,0.5,0.5.

    Args:
        name: of the field: mean (each 0 to 1) or std (each above 0, at most 1).
    Raises:
        ConfigError: they are not three, no numbers, or out of these bounds.
    """
    parts = value.strip("[]() ").split(",") if isinstance(value, str) else value
    wanted = "above 0 and at most 1" if name == "std" else "0 to 1"
    try:
        numbers = tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        numbers = ()
    fits = [(each > 0 if name == "std" else each >= 0) and each <= 1 for each in numbers]
    if len(numbers) != 3 or not all(fits):
        raise ConfigError(
            f"--{name} is {value!r}: three numbers of {wanted}, for red, green and blue, were "
            "expected, such as 0.5,0.5,0.5. Those of pixels in 0 to 255 are divided by 255."
        )
    return numbers
