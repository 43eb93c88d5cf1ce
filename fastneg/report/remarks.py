"""Remarks on figures that may mislead: a default answer, an encoder no better than an untrained
one."""

from __future__ import annotations

from pathlib import Path

from fastneg.evaluation.by_class import told_of_default
from fastneg.evaluation.untrained import KIND, verdict
from fastneg.report.blocks import pretty
from fastneg.runs.results import is_number


def untrained_verdict(entry):
    """What to say of an entry whose encoders are at or below untrained ones; "" if none is."""
    said = [
        verdict(run.results.get(("linear", "val")), run.results.get((KIND, "val")))
        for run in entry.runs
    ]
    told = [words for words in said if words]
    return f"{told[0]}{_seeds(told, entry)}" if told else ""


def default_answers(entry, test_set):
    """What to say of an entry that answers much of a set with one class; "" if it does not."""
    rows = [row for kind in ("accuracy", "shape_bias") for row in entry.rows(kind, test_set)]
    told = list(filter(None, (told_of_default(found) for row in rows if (found := _most(row)))))
    return f"{told[0]}{_seeds(told[: len(entry.runs)], entry)}" if told else ""


def remarks(entries, sets):
    """The sentences for the top of a page.

    Args:
        sets: names of the test sets.
    """
    found = [
        (entry.name, f"the encoder is {said}")
        for entry in entries
        if (said := untrained_verdict(entry))
    ]
    for test_set in sets:
        for entry in entries:
            if said := default_answers(entry, test_set):
                found.append(
                    (entry.name, f"{pretty(test_set)}: {said}. Recall rewards that: see precision")
                )
    several = len(entries) > 1
    return _named_twice(entries, sets) + [
        f"{name}: {words}." if several else f"{words[0].upper()}{words[1:]}."
        for name, words in found
    ]


def _named_twice(entries, sets):
    """Sentences about the test sets that are one file, shown in the same way."""
    names = {}
    for test_set in sets:
        for entry in entries:
            for row in entry.rows("accuracy", test_set):
                if isinstance(path := row.get("path"), str):
                    names.setdefault((path, row.get("resize")), {})[pretty(test_set)] = True
    twice = dict.fromkeys(
        f"{' and '.join(found)} are one file, {Path(path).name}: it counts once."
        for (path, _), found in names.items()
        if len(found) > 1
    )
    return list(twice)


def _seeds(told, entry):
    return f" ({len(told)} of {len(entry.runs)} seeds)" if len(entry.runs) > 1 else ""


def _most(row):
    found = row.get("most_answered")
    fits = isinstance(found, dict) and isinstance(found.get("class"), str)
    return (
        found
        if fits and is_number(found.get("answered")) and is_number(found.get("images"))
        else None
    )
