"""Which field of a .beton file holds the labels."""

from __future__ import annotations

from collections.abc import Mapping

from fastneg.data.label_names import LABEL_NAMES, plain, surest

REMARKS = ("bytes", "JSON")
"""Kinds of fields that say something about a sample and are no number."""
COUNTERS = ("index", "indices", "idx", "id", "ids", "sampleid", "imageid", "imgid", "number", "key")
"""Names, as `label_names.plain` makes them, of int fields that number the samples."""


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
