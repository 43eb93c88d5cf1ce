"""A study's folder: study.json, the settings of all its runs, and results.jsonl, one line per
run."""

from __future__ import annotations

import json
import math
from pathlib import Path

from fastneg.counts import counted
from fastneg.files import json_rows
from fastneg.options import UnfitError
from fastneg.study.plan import DATA, arms_of, size_for
from fastneg.study.verdict import IN_DOMAIN

FACTS, RESULTS, VERDICT = "study.json", "results.jsonl", "verdict.json"


def is_study(folder):
    """Whether `fastneg study` has written this folder."""
    return (Path(folder) / FACTS).is_file()


def facts_of(folder):
    """What all runs of a study share, as a dict: size, method and more."""
    return json.loads((Path(folder) / FACTS).read_text(encoding="utf-8"))


def results_of(folder):
    """The rows of results.jsonl, one a run; a line that a kill cut is left out. A figure that is no
    finite number is None.

    Raises:
        UnfitError: a line is of another method or size than the study, or of no run.
    """
    path = Path(folder) / RESULTS
    facts = facts_of(folder) if is_study(folder) else {}
    rows = [{name: _finite(value) for name, value in row.items()} for row in json_rows(path)]
    swapped = ("swapped",) if facts and size_of(facts).judged else ()
    for row in rows:
        needed = ("stage", "arm", "seed", "dose", IN_DOMAIN, *swapped)
        if missing := [name for name in needed if row.get(name) is None]:
            start = str(row)[:60]
            raise UnfitError(f"{path} has a line without {missing[0]}, of no run: {start} …")
        for name in ("method", "size"):
            if row.get(name, facts.get(name)) != facts.get(name, row.get(name)):
                raise UnfitError(
                    f"{path} has a line of {name} {row[name]}, and the study is of {facts[name]}: "
                    "such lines belong in a folder of their own."
                )
    return rows


def _finite(value):
    return None if isinstance(value, float) and not math.isfinite(value) else value


def dose_of(rows, stage, size=None):
    """The dose of the newest run of a stage, of which its arms have their multiples; None where
    there is none."""
    parts = {arm.name: arm.dose for arm in arms_of(stage, 1.0, size)}
    for row in reversed(rows):
        if row["stage"] == stage and parts.get(row["arm"]):
            return row["dose"] / parts[row["arm"]]
    return None


def rows_of(rows, stage, dose=None, size=None):
    """The rows of a stage at one dose, the last one of an arm and a seed, in the order of the arms.

    What an arm without negatives measured at another dose is left out of its row.

    Args:
        rows: of `results_of`.
        stage: of them.
        dose: None: that of its newest run. The stage that looks for one has all.
        size: as of `arms_of`.
    """
    dose = dose if dose is not None or stage == "dose" else dose_of(rows, stage, size)
    arms = arms_of(stage, 1.0 if dose is None else dose, size)
    found = {}
    for row in rows:
        if row["stage"] == stage:
            found[row["arm"], row["seed"], row["dose"]] = row
    return [
        row if _measured_at(row, dose) else {**row, "curve": {}}
        for arm in arms
        for (name, _, its), row in sorted(found.items(), key=lambda item: item[0][1])
        if name == arm.name and math.isclose(its, arm.dose)
    ]


def _measured_at(row, dose):
    """Whether the negatives that an arm without them measured had this dose, as far as is known."""
    at = row.get("measured_dose")
    return at is None or dose is None or math.isclose(at, dose)


def conditions(facts, rows, dose=None):
    """Under which conditions figures were made, in words."""
    steps = max((row["steps"] for row in rows), default=0)
    data = DATA[size_of(facts).data]
    words = f"{facts['method']}, {data}, {facts['size']}, {counted(steps, 'step', ',')} a run"
    return words if dose is None else f"{words}, dose {dose:g}"


def size_of(facts):
    """The `Size` of a study, as this version has it."""
    return size_for(facts["size"], facts["method"])
