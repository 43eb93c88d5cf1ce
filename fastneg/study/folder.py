"""A study's folder: study.json, the settings of all its runs, and results.jsonl, one line per
run."""

from __future__ import annotations

import json
import math
from pathlib import Path

from fastneg.counts import counted
from fastneg.files import json_rows
from fastneg.study.plan import DATA, arms_of, size_for

FACTS, RESULTS, VERDICT = "study.json", "results.jsonl", "verdict.json"


def is_study(folder):
    """Whether `fastneg study` has written this folder."""
    return (Path(folder) / FACTS).is_file()


def facts_of(folder):
    """What all runs of a study share, as a dict: size, method and more."""
    return json.loads((Path(folder) / FACTS).read_text(encoding="utf-8"))


def results_of(folder):
    """The rows of results.jsonl, one a run; a line that a kill cut is left out."""
    return list(json_rows(Path(folder) / RESULTS))


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
        row
        for arm in arms
        for (name, _, its), row in sorted(found.items(), key=lambda item: item[0][1])
        if name == arm.name and math.isclose(its, arm.dose)
    ]


def conditions(facts, rows):
    """Under which conditions figures were made, in words."""
    steps = max((row["steps"] for row in rows), default=0)
    data = DATA[size_of(facts).data]
    return f"{facts['method']}, {data}, {facts['size']}, {counted(steps, 'step', ',')} a run"


def size_of(facts):
    """The `Size` of a study, as this version has it."""
    return size_for(facts["size"], facts["method"])
