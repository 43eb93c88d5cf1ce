"""Labels written as text, in a list or beside the images of a shard: the number of each.

The rule: whole numbers keep their value, whatever spelling they have (7, 007, 7.0); anything else
is a class name, and the classes are the sorted names. What could be either is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from fastneg.data.class_names import alike, composed
from fastneg.data.errors import BetonError

WHOLE = re.compile(r"\+?0*(\d+)(\.0*)?", re.ASCII)
NUMBER = re.compile(
    r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.ASCII | re.IGNORECASE
)
MISSING = frozenset(("", "nan", "<na>", "#n/a"))
MISSING_AMONG_NUMBERS = frozenset(
    ("na", "n/a", "none", "null", "nil", "-", "?", "unknown", "undefined")
)
DIGITS = 18  # a number of more does not fit int64; any limit above those of LARGEST_NUMBER would do
LARGEST_NUMBER = 1 << 20
"""Labels above it would need as many classes: such numbers (ids, mostly) are class names."""


class Classes(NamedTuple):
    names: list[str]
    """The class of label i is names[i]; for numbers the number itself."""
    labels: list[int]
    notes: list[str]
    """Sentences for a person."""


def classes_of(
    texts: Sequence[str], names: Sequence[str], where: str, folders: bool = False
) -> Classes:
    """The classes of labels in text form.

    Args:
        texts: one for each image.
        names: of the images, for messages.
        where: what to call the source of the labels in messages.
        folders: the texts name folders: they are numbers only if all are written plainly (0, 1,
            10), and any other text is a name.
    Raises:
        BetonError: a label is missing, negative or no whole number, or a number has two spellings
        that would be two names.
    """
    first = {}
    for image, text in zip(names, texts, strict=True):
        first.setdefault(text, image)
    numbers = {text: int(match[1][:DIGITS]) for text in first if (match := WHOLE.fullmatch(text))}
    if folders:
        if any(text != str(number) for text, number in numbers.items()):
            numbers = {}
    else:
        _refuse_odd(first, where, mostly_numbers=2 * len(numbers) > len(first))
    if len(numbers) < len(first) or max(numbers.values()) >= LARGEST_NUMBER:
        return _by_name(texts, first, numbers, where)
    largest, taken = max(numbers.values()), set(numbers.values())
    notes = []
    if respelt := sorted(text for text, number in numbers.items() if text != str(number)):
        notes.append(f"Labels such as {respelt[0]} are taken as numbers: {numbers[respelt[0]]}.")
    if empty := sorted(set(range(largest + 1)) - taken):
        notes.append(
            f"Labels keep their value, 0 to {largest}; {len(empty)} of these have no image "
            f"({', '.join(map(str, empty[:3]))}{', …' if len(empty) > 3 else ''})."
        )
    return Classes([str(i) for i in range(largest + 1)], [numbers[text] for text in texts], notes)


def _by_name(texts, first, numbers, where):
    notes = []
    if len(numbers) == len(first):  # none is a name
        _refuse_two_spellings(first, where)
        largest = max(first, key=lambda text: (len(text), text))
        notes.append(
            f"The numbers of {where} reach {largest}: they are taken as class names, "
            "and a label is the position among the sorted names."
        )
    elif numbers:
        name = next(text for text in first if text not in numbers)
        notes.append(
            f"{where} mixes numbers ({next(iter(numbers))}) and names ({name}): all are taken as "
            "class names."
        )
    classes = sorted(first)
    if pairs := alike(classes):
        more = f" ({len(pairs)} such pairs)" if len(pairs) > 1 else ""
        one, other = pairs[0]
        if composed(one) == composed(other):  # a person would see no difference
            one, other = ascii(one), ascii(other)
        notes.append(
            f"{one} and {other} of {where} are two classes, for their spelling is not the "
            f"same{more}: if they are one, write them alike."
        )
    position = {name: label for label, name in enumerate(classes)}
    return Classes(classes, [position[text] for text in texts], notes)


def _refuse_odd(first, where, mostly_numbers):
    missing = MISSING | MISSING_AMONG_NUMBERS if mostly_numbers else MISSING
    for text, image in first.items():
        if text.casefold() in missing:
            raise BetonError(
                f"{where}: {image} has no label ({text!r}): a whole number or a class name was "
                "expected."
            )
        if NUMBER.fullmatch(text) and not WHOLE.fullmatch(text):
            raise BetonError(
                f"{where}: {image} has the label {text}, which is not a class: a whole number from "
                "0 on, or a class name, was expected. Leave such images out of the list, or give "
                "their class a name."
            )


def _refuse_two_spellings(numbers, where):
    spelt = {}
    for text in numbers:
        if (other := spelt.setdefault(WHOLE.fullmatch(text)[1], text)) != text:
            raise BetonError(
                f"{where} has the labels {other} and {text}, which may mean the same class: spell "
                "them alike."
            )
