"""What the commands that train or vote on labels share: two labelled sets, joined, and how a result is told."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

import torch

from fastneg.data.labels import class_count, join_labels, labels_of
from fastneg.data.shards import open_data


class Labelled(NamedTuple):
    train: object
    """Open `BetonReader` (or `BetonSet`)."""
    val: object
    labels: torch.Tensor
    """(images of train,) int64."""
    count: int
    """Classes of train."""
    val_labels: torch.Tensor
    """(images of val,) int64 in train's numbering, ABSENT where train has no such class."""


@contextlib.contextmanager
def open_labelled(config):
    """The sets that a config names as train and val, joined before any work, so that a wrong file costs no hour."""
    with open_data(config.train) as train, open_data(config.val) as val:
        labels, count = labels_of(train), class_count(train)
        yield Labelled(train, val, labels, count, join_labels(val, train.classes, count)[0])


def told(result):
    """An `Accuracy` in words."""
    top1 = f"top-1 {result.top1:.2f}% ({result.top1_interval[0]:.2f} to {result.top1_interval[1]:.2f})"
    return f"{top1}, top-5 {result.top5:.2f}% of {result.images} images in {result.classes} classes"
