"""The sections on settings, environment, and commands to repeat the training."""

from __future__ import annotations

import dataclasses
import json
import shlex

from fastneg.config import ConfigError, PretrainConfig, field_docs, flag_text
from fastneg.report.blocks import Cell, Column, Commands, Fold, Row, Section, Table

MISSING = "–"


def section(entries):
    """Every setting with its meaning.

    Where several entries are compared, those in which they differ come first.
    """
    docs, defaults = field_docs(PretrainConfig), PretrainConfig().as_dict()
    present = dict.fromkeys(name for entry in entries for run in entry.runs for name in run.config)
    names = [
        *(name for name in defaults if name in present),
        *(name for name in present if name not in defaults),
    ]
    rows, differing = [], []
    for name in names:
        values = [_values(entry, name) for entry in entries]
        row = Row(name, tuple(_cell(name, found, defaults) for found in values))
        # What a run does not have (its weights were imported, or its version did not know it) is no
        # difference.
        distinct = {json.dumps(found, sort_keys=True) for found in values if found != [MISSING]}
        if len(distinct) > 1 and name != "out":
            differing.append(row)
        rows.append(dataclasses.replace(row, cells=(*row.cells, Cell(text=docs.get(name, "")))))
    if not rows:
        return None
    columns = _columns(entries)
    caption = "Marked: what differs from the default."
    every = Table(
        "settings",
        "All settings",
        "setting",
        (*columns, Column("meaning", figures=False)),
        tuple(rows),
        caption,
    )
    blocks = [Fold("All settings", (every,), open=len(entries) == 1)]
    words = ""
    if len(entries) > 1:
        words = "The runs have the same settings."
        if differing:
            words = "The runs differ in these settings, beside the folder they were written to."
            blocks.insert(
                0,
                Table(
                    "settings-differing", "Where they differ", "setting", columns, tuple(differing)
                ),
            )
    return Section("settings", "Settings", tuple(blocks), words, legend=False)


def _columns(entries):
    if len(entries) == 1:
        return (Column("value", figures=False),)
    return tuple(
        Column(entry.name, series=number, figures=False) for number, entry in enumerate(entries)
    )


def _values(entry, name):
    """The distinct values of a setting over an entry's runs."""
    found = [run.config.get(name, MISSING) if run.config else MISSING for run in entry.runs]
    return [value for number, value in enumerate(found) if value not in found[:number]]


def _cell(name, values, defaults):
    changed = name in defaults and any(value not in (MISSING, defaults[name]) for value in values)
    return Cell(text=", ".join(map(_shown, values)), code=True, marked=changed)


def _shown(value):
    return MISSING if value is None else value if isinstance(value, str) else json.dumps(value)


def environment(entries):
    """The environment of every run, nested objects flattened; None where no run has one."""
    flat = []
    for entry in entries:
        flat.append([])
        for run in entry.runs:
            own = {}
            for name, value in run.environment.items():
                own.update(value if isinstance(value, dict) else {name: value})
            flat[-1].append(own)
    names = list(
        dict.fromkeys(name for runs in flat for own in runs for name in own if name != "command")
    )
    if not names:
        return None
    rows = tuple(
        Row(
            name,
            tuple(
                Cell(text=", ".join(dict.fromkeys(_shown(own.get(name)) for own in runs)))
                for runs in flat
            ),
        )
        for name in names
    )
    return Section(
        "environment",
        "Environment",
        (Table("environment", "", "", _columns(entries), rows),),
        legend=False,
    )


def commands(entries):
    """The command lines that train each run again, or None where nothing is known of any."""
    blocks = []
    for run in (run for entry in entries for run in entry.runs):
        command, recorded = reproduce(run)
        if command or recorded:
            blocks.append(Commands(run.name, command, recorded))
    if not blocks:
        return None
    caption = (
        "They need the versions above, the same data and the same number of processes. What "
        "differs from the preset is spelled out."
    )
    folded = (
        (Fold(f"{len(blocks)} command lines", tuple(blocks)),) if len(blocks) > 2 else tuple(blocks)
    )
    return Section("reproduce", "To train it again", folded, caption, legend=False)


def reproduce(run):
    """(a full command line that trains with these settings, the command that was given).

    Each is None where it is not known.
    """
    recorded = run.environment.get("command")
    fields = {item.name: item.default for item in dataclasses.fields(PretrainConfig)}
    known = json.loads(json.dumps(fields))  # as a file has them: lists, no tuples
    if "data" not in run.config:  # nothing is known, or its weights were imported
        return None, recorded
    # The defaults of PretrainConfig are those of this preset.
    words = ["fastneg", "pretrain", "--preset", "moco_patch_in100"]
    idle = _without_effect({name: value for name, value in run.config.items() if name in known})
    for name, value in run.config.items():
        if name in ("data", "out") or (name in known and value != known[name] and name not in idle):
            words += [f"--{name}", flag_text(value)]
    return shlex.join(words), recorded


def _without_effect(config):
    """Fields that do nothing beside the others, which a command line refuses.

    None where another version's config does not fit this one.
    """
    try:
        return PretrainConfig(**config).without_effect()
    except ConfigError:
        return set()
