"""How labels are called: a list's column, a shard's file or a .beton file's field."""

from __future__ import annotations

import re
from collections.abc import Mapping

LABEL_NAMES = (
    "label", "labels", "target", "targets", "class", "classes", "classlabel", "classname",
    "category", "classid", "labelid", "categoryid", "targetid", "classidx", "labelidx",
    "classindex", "labelindex", "categoryname", "labelname", "wnid", "synset", "gt", "groundtruth",
    "cls", "species", "breed", "predictionstring", "finelabel", "y",
)  # fmt: skip
"""The surest first, as `plain` makes them; y is none beside an x."""
REMARKS = ("bytes", "JSON")
"""Kinds of fields that say something about a sample and are no number."""
COUNTERS = ("index", "indices", "idx", "id", "ids", "sampleid", "imageid", "imgid", "number", "key")
"""Names, as `plain` makes them, of int fields that number the samples."""


def plain(name):
    """A header in lower case, with letters and digits alone."""
    return re.sub(r"[\W_]", "", name.lower())


def surest(names, known):
    """Positions of those of some names that are `known`, the surest first."""
    found = [i for i, name in enumerate(names) if plain(name) in known]
    return sorted(found, key=lambda i: known.index(plain(names[i])))


def label_field(kinds: Mapping[str, str]) -> str | None:
    """The int field with the labels: the one that is called label, target, class or the like;
    without such a name the only field of numbers, unless it counts the samples (index, id).

    A field that is called so but holds no ints (a float, an array) is the label all the same, and
    cannot be read: None, and no other field stands in for it.

    Args:
        kinds: {name: float, int, bytes, array, JSON or tensor} of the fields beside the images and
            checksums, in the order of the file.
    """
    names = list(kinds)
    called = [names[i] for i in surest(names, LABEL_NAMES)]
    if not called:
        numbers = [name for name in names if kinds[name] not in REMARKS]
        called = [name for name in numbers if len(numbers) == 1 and plain(name) not in COUNTERS]
    return called[0] if called and kinds[called[0]] == "int" else None
