"""Numbers with their nouns: 1 image, 2 images; the 2nd epoch."""

from __future__ import annotations

PLURALS = {
    "class": "classes",
    "process": "processes",
    "batch": "batches",
    "query": "queries",
    "entry": "entries",
    "category": "categories",
}
"""Of the nouns that do not take an s."""


def counted(number, noun, form=""):
    """A number with its noun, in the plural but for 1.

    Args:
        number: anything that compares with 1 and can be formatted.
        noun: in the singular, words before it included: "JPEG image".
        form: how the number is formatted, "," for thousands.
    """
    if number == 1:
        return f"{number:{form}} {noun}"
    *before, last = noun.split(" ")
    return " ".join([f"{number:{form}}", *before, PLURALS.get(last, f"{last}s")])


def ordinal(number):
    """1st, 2nd, 3rd, 4th, …, 11th, …, 21st."""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"
