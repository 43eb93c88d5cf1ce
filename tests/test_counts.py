"""Numbers with their nouns, and the sentences that hold them."""

import ast
import re

import pytest

from fastneg.counts import PLURALS, counted, ordinal
from helpers.modules import MODULES


@pytest.mark.parametrize(
    ("number", "noun", "said"),
    [
        (0, "image", "0 images"),
        (1, "image", "1 image"),
        (2, "class", "2 classes"),
        (1, "class", "1 class"),
        (3, "image field", "3 image fields"),
        (2, "query", "2 queries"),
        (1.0, "step", "1.0 step"),
    ],
)
def test_one_is_singular(number, noun, said):
    assert counted(number, noun) == said


def test_thousands():
    assert (
        counted(1_281_167, "image", ",") == "1,281,167 images"
        and counted(1, "image", ",") == "1 image"
    )


def test_ordinals():
    wanted = "1st 2nd 3rd 4th 10th 11th 12th 13th 14th 20th 21st 22nd 23rd 101st 111th 112th"
    assert [ordinal(int(each[:-2])) for each in wanted.split()] == wanted.split()


NOUNS = (
    "image",
    "class",
    "sample",
    "file",
    "step",
    "epoch",
    "tensor",
    "row",
    "folder",
    "checkpoint",
    "categorie",
    "voter",
    "querie",
)
FORMATTED = re.compile(rf"\0 (?:{'|'.join(NOUNS)})(?:s|es)\b(?!/)|\0(?:st|nd|rd|th)\b")
EXEMPT = {
    "fastneg.counts",
    "fastneg.data.pool",
    "fastneg.report.page",
    "fastneg.report.sections.results",
}
"""The helper itself; where a number is known to be above 1, or is no number."""


@pytest.mark.parametrize(
    "module",
    [
        name
        for name in MODULES
        if not name.startswith(("fastneg.kernels", "fastneg.recipes.bench.run"))
    ],
)
def test_no_sentence_puts_a_number_before_a_plural_by_itself(module):
    """{number} images reads "1 images" one day: `counted` is the one way. Units (pixels, bytes) and
    figures with a form are free."""
    if module in EXEMPT:
        return
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            text = "".join(
                str(part.value)
                if isinstance(part, ast.Constant)
                else "\0"
                if part.format_spec is None and part.conversion < 0
                else "…"
                for part in node.values
            )
            assert not FORMATTED.search(text), f"{module}, line {node.lineno}: {text!r}"


def test_every_irregular_noun_is_one():
    assert all(plural != f"{noun}s" for noun, plural in PLURALS.items())
