"""Whether the figures of a row may be compared, judged by how each was measured."""

from __future__ import annotations

from pathlib import Path

from fastneg.counts import counted
from fastneg.data.beton.overlap import FIELD
from fastneg.report.blocks import pretty, with_best
from fastneg.report.entries import sets_of
from fastneg.runs.folder import TRAINED_ON
from fastneg.runs.results import is_number

FILES = {"file": ("path", "data"), "training file": ("train", "train_data")}
"""{words: fields of a line that name a file and tell its content}."""
EVERYWHERE = ("images", "classes", "arg_max", "resize")
OF_KIND = {
    "few_shot": ("mode", "train_images"),
    "knn": ("k", "temperature"),
    "finetune": ("epochs", "lr", "head_lr", "batch_size", "weight_decay"),
    "few_shot_finetune": ("epochs", "lr", "head_lr", "batch_size", "weight_decay", "train_images"),
    "corruptions": ("source", "of_the_15"),
    "corruption_tree": ("source", "corruptions"),
}
"""Fields of a line that must be equal beside the file of the set."""
OF_CLASSIFIER = (
    "linear",
    "untrained",
    "accuracy",
    "per_class",
    "texture_classes",
    "shape_bias",
    "corruptions",
    "corruption_tree",
)
"""Kinds of lines whose figures are those of the trained classifier."""


def unlike(entries, kind, test_set):
    """What differs in how the runs' figures of a set came about: {name: values in words}.

    It is empty where they may be compared.
    """
    told, runs = {}, [run for entry in entries for run in entry.runs]
    lines = [run.results[kind, test_set] for run in runs if (kind, test_set) in run.results]
    for name, fields in FILES.items():
        if name == "file" or kind not in OF_CLASSIFIER:  # of which linear.pt says it
            told[name] = dict.fromkeys(_files(lines, *fields))
    for run in runs:
        if (kind, test_set) in run.results:
            for name, value in _facts(run, kind, run.results[kind, test_set]).items():
                told.setdefault(name, {})[value] = True
    if kind in OF_CLASSIFIER:
        trained = [
            {"train": run.classifier.get(TRAINED_ON), "data": run.train_data} for run in runs
        ]
        told[TRAINED_ON] = dict.fromkeys(_files(trained, "train", "data"))
    return {name: list(values) for name, values in told.items() if len(values) > 1}


def _files(lines, path, key):
    """The files that lines name, in words, each once.

    Lines that tell the content of their files are compared by that, whatever the names; else files
    of one name are taken for one.
    """
    named = [line for line in lines if isinstance(line.get(path), str)]
    names = [Path(line[path]).name for line in named]
    keys = [line.get(key) for line in named]
    if not all(isinstance(each, str) for each in keys):
        return list(dict.fromkeys(names))
    first = {}
    for each, name in zip(keys, names, strict=True):
        first.setdefault(each, name)
    if len(set(first.values())) == len(first):
        return list(first.values())
    return [f"{name} ({each})" for each, name in first.items()]


def warning(entries, kind, test_set):
    """`unlike` in a few words; empty where nothing differs."""
    differing = unlike(entries, kind, test_set)
    return (
        f"not comparable: {', '.join(differing)} {'differs' if len(differing) == 1 else 'differ'}"
        if differing
        else ""
    )


def shared(entries, kind, test_set):
    """How many images the runs' training sets share with a set, in words.

    It is empty where none are known to be shared.
    """
    rows = [row for entry in entries for row in entry.rows(kind, test_set)]
    counts = dict.fromkeys(
        row[FIELD] for row in rows if is_number(row.get(FIELD)) and row[FIELD] > 0
    )
    *before, last = counts or [0]
    told = " / ".join([*(f"{count:,}" for count in before), counted(last, "image", ",")])
    return f"{told} of it are in the training set too" if counts else ""


def shared_problems(runs):
    """[(names of runs, sentence)] of the sets that share images with a training set.

    What is to be said of several runs, or of a file under several names, is one sentence.
    """
    found = {}
    for run in runs:
        for (kind, test_set), row in run.results.items():
            if is_number(row.get(FIELD)) and row[FIELD] > 0:
                file = row["path"] if isinstance(row.get("path"), str) else test_set
                told = found.setdefault((file, row[FIELD]), [{}, {}, {}])
                own = (run.name, pretty(test_set), pretty(kind))
                for names, name in zip(told, own, strict=True):
                    names[name] = True
    return [
        (
            ", ".join(names) if len(names) <= 3 else f"{len(names)} runs",
            f"{counted(count, 'image', ',')} of {' / '.join(sets)} are in the training set too, "
            "byte for byte. The figures on them say how well they are remembered "
            f"({', '.join(kinds)}).",
        )
        for (_, count), (names, sets, kinds) in found.items()
    ]


def marked(entries, kind, test_set, cells, highest=True):
    """Cells with the best marked, where they may be compared."""
    return tuple(cells) if unlike(entries, kind, test_set) else with_best(cells, highest)


def warnings(entries, kinds):
    """What differs, and how, in all sets of some kinds.

    Sets of which the same is to be said are one sentence.
    """
    found = {}
    for kind in kinds:
        for test_set in sets_of(entries, kind):
            if differing := unlike(entries, kind, test_set):
                words = "; ".join(f"{name}: {_among(values)}" for name, values in differing.items())
                found.setdefault(words, []).append(f"{pretty(kind)} {pretty(test_set)}")
    return [f"{', '.join(names)} ({words})" for words, names in found.items()]


def _facts(run, kind, row):
    """{name: value in words} of what one line says.

    What it does not say is left out, as lines of earlier versions say less.
    """
    facts = {}
    for name in (*EVERYWHERE, *OF_KIND.get(kind.split(" ")[0], ())):
        value = row.get(name)
        if value is not None:
            parts = value if isinstance(value, list) else [value]
            facts[pretty(name)] = ", ".join(
                sorted(f"{part:g}" if isinstance(part, float) else str(part) for part in parts)
            )
    if kind in OF_CLASSIFIER:
        facts |= {name: value for name, value in run.classifier.items() if name != TRAINED_ON}
    return facts


def _among(values):
    shown = [value if len(value) <= 60 else f"{value[:40]}…" for value in values]
    return " / ".join(shown[:4]) + (" / …" if len(shown) > 4 else "")
