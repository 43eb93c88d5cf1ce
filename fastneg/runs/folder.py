"""Reads a run folder, as far as it can be read."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from fastneg.config import ConfigError, UnfitError
from fastneg.config.pretrain import todays_names
from fastneg.data.errors import BetonError
from fastneg.models.torch_files import UnreadableError, load_file
from fastneg.runs import checkpoint, paths
from fastneg.runs.classifier import classifier_key
from fastneg.runs.gallery import read_gallery
from fastneg.runs.log import ACCURACY_MOST
from fastneg.runs.predictions import read_predictions
from fastneg.runs.results import is_number, key_of, misfit

TRAINED_ON = "probe trained on"
"""The words of `Run.classifier` for the file that the classifier was trained on."""
OF_IMPORTED = (
    "backbone",
    "stem",
    "image_size",
    "eval_resize",
    "eval_interpolation",
    "mean",
    "std",
    "init",
    "precision",
    "probe",
)
"""Settings that mean something where weights were imported: the others are defaults that nobody
trained with."""


@dataclass
class Run:
    """What a run folder tells. What could not be read is in `problems`, in words."""

    folder: Path
    name: str
    config: dict = field(default_factory=dict)
    environment: dict = field(default_factory=dict)
    rows: list = field(default_factory=list)
    """The `train` lines of metrics.jsonl; acc1 and acc5 are shares in [0, 1]."""
    measured: list = field(default_factory=list)
    """Its `measured` lines: negatives that the run did not train on."""
    results: dict = field(default_factory=dict)
    """{(kind, set): the last line of evaluation.jsonl of that kind and set, see `rows.key_of`}."""
    gallery: list = field(default_factory=list)
    """The images of gallery/, see `pictures.read_gallery`."""
    predictions: dict = field(default_factory=dict)
    """{set: Predictions} of predictions/."""
    classes: list | None = None
    """The classifier's class names, of linear.pt; None where they are not known."""
    classifier: dict = field(default_factory=dict)
    """How the classifier was trained, {what: in words}."""
    train_data: str | None = None
    """What tells its training images from others, see `data.beton.identity.content_key`."""
    imported: str = ""
    """The file of weights that the folder was made of by fastneg import; empty where they were
    trained."""
    problems: list = field(default_factory=list)

    def source_path(self, test_set):
        """The .beton file of the test set's images; BetonError where no line of evaluation.jsonl
        names it."""
        path = self.results.get(("accuracy", test_set), {}).get("path")
        if not isinstance(path, str):
            raise BetonError(f"evaluation.jsonl names no .beton file for the set {test_set}.")
        return path

    def answered_as(self, other, test_set):
        """Whether another run has predictions of the same images: of a file of the same name, with
        the same classes at the same positions."""
        if test_set not in self.predictions or test_set not in other.predictions:
            return False
        files = {
            Path(str(run.results.get(("accuracy", test_set), {}).get("path"))).name
            for run in (self, other)
        }
        one, two = (run.predictions[test_set] for run in (self, other))
        if len(files) > 1 or not np.array_equal(one.index, two.index):
            return False
        names = [run.classes_of(test_set) for run in (self, other)]
        if None in names:  # numbers may be of any classes
            return True
        pairs = set(zip(one.label.tolist(), two.label.tolist(), strict=True))
        return all(self.class_name(a, test_set) == other.class_name(b, test_set) for a, b in pairs)

    def classes_of(self, test_set=None):
        """Names of the classes in which a set is answered; None where they are not known."""
        return getattr(self.predictions.get(test_set), "classes", None) or self.classes

    def class_name(self, number, test_set=None):
        """The name of a class of the classifier, or of what a set is answered in; its number where
        there are no names."""
        classes = self.classes_of(test_set)
        known = classes is not None and 0 <= number < len(classes)
        return str(classes[number]) if known else f"class {number}"


def run_names(folders):
    """A short name for each folder: as many of its last parts as tell it from the others."""
    if not folders:
        raise ConfigError("--runs is empty: at least one run folder was expected.")
    paths = [Path(folder).resolve() for folder in folders]
    for path, folder in zip(paths, folders, strict=True):
        if paths.count(path) > 1:
            raise ConfigError(f"--runs names {folder} twice: each run can be shown once.")
    for parts in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-parts:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    raise AssertionError(f"distinct paths with equal parts: {paths}")


def read_run(folder, name):
    """The Run of a folder; ConfigError if it is none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UnfitError(
            f"{folder} is no folder: a run folder that fastneg pretrain wrote was expected."
        )
    known = (paths.CONFIG, paths.METRICS, paths.RESULTS)
    if not any((folder / file).is_file() for file in known):
        raise UnfitError(
            f"{folder} is no run folder: it holds none of {', '.join(known)}, which fastneg "
            "pretrain and evaluate write."
        )
    run = Run(folder, name)
    run.config = todays_names(_read_object(run, paths.CONFIG))
    run.environment = _read_object(run, paths.ENVIRONMENT)
    if run.config.get("data") == "" and isinstance(run.config.get("init"), str):
        run.imported = run.config["init"]
        run.config = {name: value for name, value in run.config.items() if name in OF_IMPORTED}
    if not run.imported or (folder / paths.METRICS).exists():
        _read_training(run)
    for row in _read_lines(run, paths.RESULTS):
        problem = misfit(row)
        if problem:
            run.problems.append(
                f"evaluation.jsonl: a line of kind {row['kind']!r} was left out, {problem}."
            )
        else:
            run.results[key_of(row)] = row
    _compare_checkpoints(run)
    if not run.imported or (folder / paths.GALLERY).exists():
        run.gallery, problems = read_gallery(folder)
        run.problems += problems
    _read_classifier(run)
    _read_answers(run)
    return run


def _read_training(run):
    """The lines of metrics.jsonl, and whether the training came to its end."""
    lines = [(row["kind"], _numbers(row)) for row in _read_lines(run, paths.METRICS)]
    run.rows = list(_train_rows(lines))
    run.measured = [row for kind, row in lines if kind == "measured" and "step" in row]
    totals = [row["total_steps"] for kind, row in lines if kind == "start" and "total_steps" in row]
    last = max((row["step"] for row in run.rows), default=0)
    if totals and last < totals[-1]:
        run.problems.append(
            f"the training is not finished: metrics.jsonl ends at step {last:g} of {totals[-1]:g}."
        )


def _train_rows(lines):
    """The `train` lines of (kind, line), with acc1 and acc5 as shares: earlier versions wrote them
    in percent."""
    most = 100.0
    for kind, row in lines:
        if kind == "start":
            most = row.get(ACCURACY_MOST, 100.0)
        elif kind == "train" and "step" in row:
            yield {
                name: value / most if name in ("acc1", "acc5") else value
                for name, value in row.items()
            }


def _read_classifier(run):
    """Of linear.pt: the names of the classes, and how it was trained."""
    facts = run.results.get(("linear", "val"), {})
    try:
        if not (run.folder / paths.CLASSIFIER).exists():
            raise FileNotFoundError
        facts = {**facts, **load_file(run.folder / paths.CLASSIFIER)}
        run.classes = (
            list(facts["classes"]) if isinstance(facts["classes"], (list, tuple)) else None
        )
    except FileNotFoundError:
        if (run.folder / paths.PREDICTIONS).exists():
            run.problems.append("linear.pt is missing: classes are shown by their numbers.")
    except (UnreadableError, KeyError, ValueError, TypeError) as error:
        run.problems.append(
            f"linear.pt cannot be read, classes are shown by their numbers: {error}."
        )
    if isinstance(facts.get("mode"), str):
        settings = {
            "epochs": facts.get("epochs"),
            "lr": facts.get("lr"),
            "batch": facts.get("batch_size"),
        }
        told = [f"{name} {value:g}" for name, value in settings.items() if is_number(value)]
        run.classifier["probe"] = ", ".join([facts["mode"], *told])
    if isinstance(facts.get("train"), str):
        run.classifier[TRAINED_ON] = Path(facts["train"]).name
    run.train_data = facts.get("train_data")
    layer = [facts.get(name) for name in ("weight", "bias")]
    if all(isinstance(values, torch.Tensor) for values in layer):
        _compare_classifiers(run, classifier_key(*layer))


def _read_answers(run):
    """The predictions, by set."""
    found, problems = read_predictions(run.folder)
    run.problems += problems
    named = {
        paths.predictions_path(run.folder, test_set).stem: test_set
        for kind, test_set in run.results
        if kind == "accuracy"
    }
    run.predictions = {named.get(stem, stem): predictions for stem, predictions in found.items()}


def _compare_classifiers(run, key):
    """Point out results that are not those of the classifier in linear.pt."""
    told = [
        f"{kind} {test_set}"
        for (kind, test_set), row in run.results.items()
        if row.get("classifier") not in (None, key)
    ]
    if told:
        run.problems.append(
            "evaluation.jsonl: results are of another classifier than linear.pt holds now "
            f"({', '.join(told)}): run fastneg evaluate again to compare like with like."
        )


def _compare_checkpoints(run):
    """Point out results that are not of the same weights, or not of the newest ones."""
    sources = {}
    for (kind, test_set), row in run.results.items():
        if row.get("checkpoint"):
            sources.setdefault(str(row["checkpoint"]), []).append(f"{kind} {test_set}")
    if len(sources) > 1:
        told = "; ".join(f"{name}: {', '.join(results)}" for name, results in sources.items())
        run.problems.append(
            f"evaluation.jsonl: results are of different checkpoints ({told}): evaluate again to "
            "compare like with like."
        )
    newest = None
    with contextlib.suppress(OSError):  # of a folder that cannot be read nothing is known
        newest = max((path.name for path in checkpoint.paths(run.folder)), default=None)
    if sources and newest is not None and newest not in sources:
        run.problems.append(
            f"evaluation.jsonl: all results are of {', '.join(sources)}, the newest checkpoint is "
            f"{newest}: evaluate again to see the figures of the longer training."
        )


def _read_text(run, file):
    try:
        return (run.folder / file).read_text(encoding="utf-8")
    except FileNotFoundError:
        run.problems.append(f"{file} is missing.")
    except (OSError, UnicodeDecodeError) as error:
        run.problems.append(f"{file} cannot be read: {error}.")
    return None


def _read_object(run, file):
    text = _read_text(run, file)
    if text is None:
        return {}
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        run.problems.append(f"{file} is damaged: {error}.")
        return {}
    if not isinstance(content, dict):
        run.problems.append(f"{file} holds no JSON object.")
        return {}
    return content


def _read_lines(run, file):
    """The JSON objects of a file that have a kind; one problem tells of all lines that are
    something else."""
    rows, bad = [], []
    for number, line in enumerate((_read_text(run, file) or "").splitlines(), 1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            row = None
        if isinstance(row, dict) and isinstance(row.get("kind"), str):
            rows.append(row)
        elif line.strip():
            bad.append(number)
    if bad:
        run.problems.append(
            f"{file}: {_lines(bad)} could not be read and {'was' if len(bad) == 1 else 'were'} "
            "left out."
        )
    return rows


def _lines(numbers):
    some = ", ".join(map(str, numbers[:5])) + (", …" if len(numbers) > 5 else "")
    return f"line {some}" if len(numbers) == 1 else f"{len(numbers)} lines ({some})"


def _numbers(row):
    return {name: value for name, value in row.items() if is_number(value)}
