"""Whether a classifier gives one answer to most images: its recall there, alone, says nothing.

Legend: N images.
"""

from __future__ import annotations

import torch

MOST, TIMES = 50.0, 1.25
"""One answer to this percentage of the images, and to so many times as many as are of its class."""
MANY, MANY_TIMES = 25.0, 3.0
"""Or to so many percent, where far fewer images are of it."""


def most_answered(predicted, labels, names):
    """The commonest answer.

    {"class": its name, "answered": percent of all answers, "images": percent of the images that are
    of that class}.

    Args:
        predicted, labels: (N,) int64, N above 0.
        names: class names by number, or None: numbers stand for them.
    """
    numbers, counts = torch.unique(predicted, return_counts=True)
    number = int(numbers[counts.argmax()])
    shares = [100.0 * (each == number).sum().item() / len(each) for each in (predicted, labels)]
    name = str(number if names is None else names[number])
    return {"class": name, "answered": shares[0], "images": shares[1]}


def takes_most(found):
    """Whether that answer is a default: given to much of the set, and more often than is right.

    Args:
        found: as of `most_answered`.
    """
    answered, images = found["answered"], found["images"]
    often = answered >= MOST and answered >= TIMES * images
    return often or (answered >= MANY and answered >= MANY_TIMES * images)


def told_of_default(found):
    """The remark on such an answer in words; "" where there is none, or nothing is known."""
    if not found or not takes_most(found):
        return ""
    share = f"{found['answered']:.0f}% of the answers are {found['class']}"
    return f"one answer takes most: {share}, {found['images']:.0f}% of the images"
