"""Categories of several classes: read from a file, matched to a set, and scored.

An answer is the category of the highest mean probability over its classes: the definition of
model-vs-human, Geirhos et al. 2021, arXiv:2106.07411.
Legend: N images, C classes of the classifier, G categories.
"""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import NamedTuple

import torch

from fastneg.config import ConfigError, UnfitError
from fastneg.data.labels import ABSENT
from fastneg.options import reason_of


def load_groups(path):
    """{group: class names} of a file.

    It is JSON {"group": ["class", …]}, or CSV with the columns class and group.

    Raises:
        ConfigError: the file is missing or holds something else.
    """
    path = Path(path)
    expected = 'JSON {"group": ["class", …]}, or CSV with the columns class and group, was expected'
    try:
        text = path.read_text(encoding="utf-8")
        groups = json.loads(text) if path.suffix.lower() == ".json" else _from_csv(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read ({reason_of(error)}): {expected}.") from None
    except KeyError as error:
        raise ConfigError(f"{path} has no column {error}: {expected}.") from None
    except ValueError as error:
        raise ConfigError(f"{path} holds something else ({error}): {expected}.") from None
    fits = (
        isinstance(groups, dict)
        and groups
        and all(isinstance(members, list) and members for members in groups.values())
    )
    if not fits or not all(
        isinstance(member, str) for members in groups.values() for member in members
    ):
        raise ConfigError(f"{path} holds something else: {expected}.")
    return {group: tuple(dict.fromkeys(members)) for group, members in groups.items()}


def _from_csv(text):
    groups = {}
    for row in csv.DictReader(text.splitlines()):
        if not row["group"] or not row["class"]:
            raise ValueError(
                f"a row lacks its class or its group: {', '.join(map(str, row.values()))}"
            )
        groups.setdefault(row["group"].strip(), []).append(row["class"].strip())
    return groups


def members_of(categories, classes):
    """{category: numbers of its classes in a classifier} of those that it knows any of.

    Args:
        classes: the classifier's class names.
    """
    position = {name: number for number, name in enumerate(classes)}
    found = {
        category: [position[name] for name in names if name in position]
        for category, names in categories.items()
    }
    return {category: members for category, members in found.items() if members}


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
        raise UnfitError(
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
    """(N, G) float64: the logarithm of the mean probability of each category's classes.

    Their softmax is the categories' share.

    Args:
        logits: (N, C).
        members: {category: numbers of its classes}. Means, not sums: else a category of many
            classes would win by their number.
    """
    log = logits.double().log_softmax(1)
    return torch.stack(
        [log[:, list(own)].logsumexp(1) - math.log(len(own)) for own in members.values()], dim=1
    )
