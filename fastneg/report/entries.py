"""The columns of a page: runs, or groups of runs that differ only in their seed.

A group has the mean of its runs and their standard deviation.
"""

from __future__ import annotations

import json
import re
import statistics
from dataclasses import dataclass

from fastneg.config import PretrainConfig
from fastneg.report.blocks import Cell, Column, common_start
from fastneg.runs.results import is_number, is_pair

OWN = ("out", "seed")
"""Settings in which the runs of a group differ."""
WITHOUT_EFFECT = (
    "threads",
    "resume",
    "log_every",
    "checkpoint_every",
    "keep_checkpoints",
    "check_crc",
    "cache_dir",
)
"""Settings that do not change what is learned."""
COMPARED = (
    ("linear", "top1", "linear probe, {set}"),
    ("knn", "top1", "kNN, {set}"),
    ("accuracy", "top1", "top-1, {set}"),
    ("corruptions", "mean_top1", "under corruption, {set}"),
    ("shape_bias", "shape_bias", "shape bias, {set}"),
    ("shape_bias", "coverage", "coverage of shape bias, {set}"),
)
"""(kind of line, field, words) of the figures that are compared between settings."""


@dataclass(frozen=True)
class Entry:
    """One or several runs under one name, colour and marker."""

    name: str
    runs: tuple

    @property
    def config(self):
        """The settings that its runs share."""
        return {
            name: value
            for name, value in self.runs[0].config.items()
            if len(self.runs) == 1 or name not in OWN
        }

    @property
    def seeds(self):
        """How many seeds its figures are of, in words; empty for weights from elsewhere."""
        if len(self.runs) == 1:
            return "" if self.runs[0].imported else "1 seed"
        return f"{len(self.runs)} seeds"

    def rows(self, kind, test_set):
        """The lines that its runs have of this kind and set."""
        return [run.results[kind, test_set] for run in self.runs if (kind, test_set) in run.results]

    def cell(self, kind, test_set, field):
        """A figure as a Cell.

        It is the mean and standard deviation over the entry's runs, or one value with its interval.
        """
        rows = [row for row in self.rows(kind, test_set) if is_number(row.get(field))]
        if not rows:
            return Cell()
        if len(self.runs) > 1:
            return mean_cell([row[field] for row in rows], len(self.runs))
        interval = rows[0].get(f"{field}_interval")
        return Cell(rows[0][field], interval=tuple(interval) if is_pair(interval) else None)

    def value(self, kind, test_set, field):
        """The mean of a figure over its runs, or None."""
        return self.cell(kind, test_set, field).value


def mean_cell(values, expected):
    """Mean and sample standard deviation.

    A note says so where fewer than `expected` runs have the figure.
    """
    if not values:
        return Cell()
    note = f"{len(values)} of {expected} seeds" if len(values) < expected else ""
    std = statistics.stdev(values) if len(values) > 1 else None
    return Cell(statistics.mean(values), std=std, note=note, runs=len(values))


def mean_of(entry, values):
    """The mean cell of one value for each run; a single run's value without a spread."""
    return (
        mean_cell(values, len(entry.runs))
        if len(entry.runs) > 1
        else Cell(values[0] if values else None)
    )


def entry_columns(entries, single="value"):
    """A column for each entry; with one entry it is named for what it holds."""
    if len(entries) == 1:
        return (Column(single),)
    return tuple(Column(entry.name, series=number) for number, entry in enumerate(entries))


def sets_of(entries, kind):
    """Test sets that any run has a result of this kind for, in order of first appearance."""
    return list(
        dict.fromkeys(
            test_set
            for entry in entries
            for run in entry.runs
            for found, test_set in run.results
            if found == kind
        )
    )


def same_but(config, *fields):
    """Settings as a key, equal for runs that differ in `fields` alone.

    Settings that change nothing do not count.

    What a run of an earlier version did not know yet counts as its default.
    """
    known = {**PretrainConfig().as_dict(), **config}
    kept = {
        name: value for name, value in known.items() if name not in (*fields, *OWN, *WITHOUT_EFFECT)
    }
    return json.dumps(kept, sort_keys=True)


def group_runs(runs, group="seeds"):
    """Entries in the order of their first runs.

    Args:
        runs: list of Run.
        group: "seeds": runs with equal settings and distinct seeds make one entry (see OWN and
            WITHOUT_EFFECT); "none": each run is one. Runs without readable settings stay
            alone.
    """
    groups = {}
    for number, run in enumerate(runs):
        key = (
            same_but(run.config)
            if group == "seeds" and is_number(run.config.get("seed"))
            else number
        )
        groups.setdefault(key, []).append(run)
    members = []
    for found in groups.values():
        distinct = len({run.config.get("seed") for run in found}) == len(found)
        # equal seeds: repetitions say nothing of the spread
        members += [tuple(found)] if distinct else [(run,) for run in found]
    names = [group_name([run.name for run in found]) for found in members]
    entries = []
    for name, found in zip(names, members, strict=True):
        unclear = names.count(name) > 1 and len(found) > 1
        entries.append(
            Entry(f"{found[0].name} and {len(found) - 1} more" if unclear else name, found)
        )
    return entries


def alpha_families(entries):
    """Lists of numbers of entries that differ in alpha alone, in the order of alpha.

    Each holds two alphas or more.
    """
    found = {}
    for number, entry in enumerate(entries):
        if is_number(entry.config.get("alpha")) and entry.config.get("negatives") not in (
            None,
            "none",
        ):
            found.setdefault(same_but(entry.config, "alpha"), []).append(number)
    ordered = [
        sorted(members, key=lambda n: entries[n].config["alpha"]) for members in found.values()
    ]
    return [
        members for members in ordered if len({entries[n].config["alpha"] for n in members}) > 1
    ]


def group_name(names):
    """What names of a group have in common, without what numbers the seed.

    Of runs/patch-s0 and runs/patch-s1 this is runs/patch.
    """
    if len(names) == 1:
        return names[0]
    start = common_start(names)
    if any(name[len(start) : len(start) + 1].isdigit() for name in names):
        start = re.sub(r"\d+$", "", start)
    start = re.sub(r"(^|[-_/. ]+)(seed|s)?[-_/. ]*$", "", start)
    end = common_start([name[::-1] for name in names])[::-1]
    end = re.sub(r"^\w*/|^[-_. ]+", "", end)
    return (
        start
        or (end if re.search(r"[A-Za-z]", end) else "")
        or f"{names[0]} and {len(names) - 1} more"
    )
