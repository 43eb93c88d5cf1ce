"""Class names that a person would take for one: café in two codings, hot_dog and Hot dog."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

SEPARATORS = re.compile(r"[\s_-]+")


def composed(name: str) -> str:
    """A name in Unicode's composed form: the same text, whatever system wrote it. File names that
    come from a Mac are decomposed."""
    return unicodedata.normalize("NFC", name)


def spelling(name: str) -> str:
    """What is left of a name without its case, and with blanks, _ and - alike."""
    return SEPARATORS.sub(" ", composed(composed(name).casefold()))


def alike(names: Iterable[str], others: Iterable[str] | None = None) -> list[tuple[str, str]]:
    """Pairs of different names of one spelling: among the names, or of one of them and one of
    others."""
    first: dict[str, str] = {}
    if others is not None:
        for name in others:
            first.setdefault(spelling(name), name)
    found = []
    for name in names:
        key = spelling(name)
        other = first.get(key, name)
        if other != name:
            found.append((other, name))
        elif others is None:
            first[key] = name
    return found
