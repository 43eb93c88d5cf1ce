"""Common names for labels: of a list's column, a shard's file or a .beton file's field."""

from __future__ import annotations

import re

LABEL_NAMES = (
    "label", "labels", "target", "targets", "class", "classes", "classlabel", "classname",
    "category", "classid", "labelid", "categoryid", "targetid", "classidx", "labelidx",
    "classindex", "labelindex", "categoryname", "labelname", "wnid", "synset", "gt", "groundtruth",
    "cls", "species", "breed", "predictionstring", "finelabel", "y",
)  # fmt: skip
"""The surest first, as `plain` makes them; y is none beside an x."""


def plain(name):
    """A header in lower case, with letters and digits alone."""
    return re.sub(r"[\W_]", "", name.lower())


def surest(names, known):
    """Positions of those of some names that are `known`, the surest first."""
    found = [i for i, name in enumerate(names) if plain(name) in known]
    return sorted(found, key=lambda i: known.index(plain(names[i])))
