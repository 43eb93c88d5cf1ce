"""The summary of the demo: its encoders side by side, and how many seeds a conclusion needs."""

from __future__ import annotations

from fastneg.counts import counted
from fastneg.evaluation.untrained import verdict
from fastneg.recipes.demo_arms import UNTRAINED
from fastneg.runs.results import chance_coverage
from fastneg.study.plan import SEED_SD
from fastneg.study.statistics import seeds_needed

FIGURES = (
    ("in domain", "linear", "val", "top1", "linear probe, images as in training"),
    ("kNN", "knn", "val", "top1", "the same images"),
    ("swapped", "accuracy", "swapped", "top1", "shape of one class, texture of another"),
    ("texture only", "accuracy", "texture_only", "top1", "no shape at all"),
    ("corrupted", "corruptions", "in_domain", "mean_top1", "15 corruptions, 5 severities"),
    ("shape bias", "shape_bias", "swapped", "shape_bias", "answers by shape, of those by a cue"),
    ("coverage", "shape_bias", "swapped", "coverage", "answers by a cue"),
)
"""(name, kind of line, set, field, what it is)"""
SMALL = 2.0
"""Points: an effect that a claim would be worth, but that one seed cannot tell from chance."""
WIDTH = 11


def summary(results):
    """What came out, as aligned lines for a person.

    Args:
        results: {name of an arm: {(kind, set): line of evaluation.jsonl}}, the untrained encoder's
            too; of the others the plain one first, then that with negatives. What is not there is
            left out.
    """
    plain, treated = (name for name in results if name != UNTRAINED)
    order = (UNTRAINED, plain, treated)
    heads = (*order, "difference")
    lines = [f"{'top-1, %':<14}" + "".join(f"{head:>{WIDTH}}" for head in heads)]
    for name, kind, test_set, field, what in FIGURES:
        values = [results[arm].get((kind, test_set), {}).get(field) for arm in order]
        if values[1] is None or values[2] is None:
            continue
        cells = ["" if value is None else f"{value:.1f}" for value in values]
        cells.append(f"{values[2] - values[1]:+.1f}")
        if field == "coverage":
            what += _by_chance(results[treated])
        lines.append(f"{name:<14}" + "".join(f"{cell:>{WIDTH}}" for cell in cells) + f"  {what}")
    return [*lines, *_notes(results, plain, treated)]


def _by_chance(found):
    chance = chance_coverage(found["shape_bias", "swapped"], found.get(("linear", "val")))
    return "" if chance is None else f" ({chance:.0f}% by chance)"


def _notes(results, plain, treated):
    """Encoders that learned nothing, chance, and what one seed is worth."""
    before = results[UNTRAINED].get(("linear", "val"))
    said = {arm: verdict(results[arm].get(("linear", "val")), before) for arm in (plain, treated)}
    notes = [f"NOTE: the arm {arm} is {words}." for arm, words in said.items() if words]
    if classes := (before or {}).get("classes"):
        notes.append(f"Guessing gets {100 / classes:.1f}%.")
    found = [results[arm].get(("accuracy", "swapped"), {}).get("top1") for arm in (plain, treated)]
    return notes if None in found else [*notes, *claim(found[1] - found[0])]


def claim(difference):
    """How many seeds a claim takes, in lines.

    Args:
        difference: with negatives minus without, points on the swapped set.
    """
    effects = sorted({SMALL, round(abs(difference), 1)} - {0.0}, reverse=True)
    told = []
    for effect in effects:
        # more than that is no study: it says so in place of a number
        needed = seeds_needed(effect, SEED_SD, most=100)
        seeds = "more than 100 seeds" if needed is None else counted(needed, "seed")
        told.append(f"{effect:g} points take {seeds}")
    return [
        "One seed shows that everything works, and is no evidence for or against the negatives.",
        f"Differences on the swapped set scatter by about {SEED_SD:g} points from seed to seed: to "
        "find a true one",
        f"four times in five, {', '.join(told)}. fastneg study trains them and judges.",
    ]
