"""Answers in categories of classes, by the definition of model-vs-human: the mean probability over
a category's classes, arg-max.

Source: Geirhos et al. 2021, arXiv:2106.07411. Legend: N images, C classes of the classifier, G
    categories.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from fastneg.config import ConfigError
from fastneg.data.labels import ABSENT
from fastneg.evaluation.categories import members_of


class CategorySet(NamedTuple):
    members: dict
    """{category: numbers of its classes in the classifier} of the G categories that it knows; their
    places are the labels."""
    joined: torch.Tensor
    """(classes of the file,) int64: the place of each among the categories, or ABSENT."""


def join_categories(reader, head, categories):
    """The `CategorySet` of a file whose classes are categories.

    Raises:
        ConfigError: a class that is no category.
    """
    unknown = [category for category in reader.classes if category not in categories]
    if unknown:
        raise ConfigError(
            f"{reader.path} has the classes {', '.join(unknown[:3])}, which are neither the "
            "classifier's nor among the categories "
            f"{', '.join(list(categories)[:3])}, …: give --categories a file "
            f"{{category: [class, …]}}."
        )
    members = members_of(categories, head.classes)
    place = {category: number for number, category in enumerate(members)}
    return CategorySet(
        members, torch.tensor([place.get(category, ABSENT) for category in reader.classes])
    )


def category_logits(logits, members):
    """(N, G) float64: the logarithm of the mean probability of each category's classes, so that
    their softmax is the categories' share.

    Args:
        logits: (N, C).
        members: {category: numbers of its classes}. Means, not sums: else a category of many
            classes would win by their number.
    """
    log = logits.double().log_softmax(1)
    return torch.stack(
        [log[:, list(own)].logsumexp(1) - math.log(len(own)) for own in members.values()], dim=1
    )
