"""What a run folder tells, as far as it can be read."""

from __future__ import annotations

import base64
import io
import json
import pickle
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fastneg.config import ConfigError
from fastneg.data.errors import BetonError
from fastneg.report.predictions import read_predictions
from fastneg.report.rows import is_number, key_of, misfit

THUMBNAIL = 224  # longest side in pixels of an image in the page
SHOWN_NEGATIVES = 4


@dataclass
class Run:
    """What a run folder tells. What could not be read is in `problems`, in words."""

    folder: Path
    name: str
    config: dict = field(default_factory=dict)
    environment: dict = field(default_factory=dict)
    rows: list = field(default_factory=list)
    """The `train` lines of metrics.jsonl."""
    results: dict = field(default_factory=dict)
    """{(kind, set): the last line of evaluation.jsonl of that kind and set, see `rows.key_of`}."""
    gallery: list = field(default_factory=list)
    """For each image of the gallery {"image": data URI, "query": …, "key": …, "negatives": [data URI, …], "left_out": n}."""
    predictions: dict = field(default_factory=dict)
    """{set: Predictions} of predictions/."""
    classes: list | None = None
    """The classifier's class names, of linear.pt; None where they are not known."""
    problems: list = field(default_factory=list)

    def source_path(self, test_set):
        """The .beton file of the test set's images; BetonError where no line of evaluation.jsonl names it."""
        path = self.results.get(("accuracy", test_set), {}).get("path")
        if not isinstance(path, str):
            raise BetonError(f"evaluation.jsonl names no .beton file for the set {test_set}.")
        return path

    def answered_as(self, other, test_set):
        """Whether another run has predictions of the same images: of a file of the same name, at the same positions."""
        if test_set not in self.predictions or test_set not in other.predictions:
            return False
        files = {Path(str(run.results.get(("accuracy", test_set), {}).get("path"))).name for run in (self, other)}
        return len(files) == 1 and np.array_equal(self.predictions[test_set].index, other.predictions[test_set].index)

    def class_name(self, number):
        """The name of a class of the classifier; its number where there are no names."""
        known = self.classes is not None and 0 <= number < len(self.classes)
        return str(self.classes[number]) if known else f"class {number}"


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
        raise ConfigError(f"{folder} is no folder: a run folder that fastneg pretrain wrote was expected.")
    known = ("config.json", "metrics.jsonl", "evaluation.jsonl")
    if not any((folder / file).is_file() for file in known):
        raise ConfigError(f"{folder} is no run folder: it holds none of {', '.join(known)}, which fastneg pretrain and evaluate write.")
    run = Run(folder, name)
    run.config = _read_object(run, "config.json")
    run.environment = _read_object(run, "environment.json")
    run.rows = [_numbers(row) for row in _read_lines(run, "metrics.jsonl") if row["kind"] == "train"]
    run.rows = [row for row in run.rows if "step" in row]
    for row in _read_lines(run, "evaluation.jsonl"):
        problem = misfit(row)
        if problem:
            run.problems.append(f"evaluation.jsonl: a line of kind {row['kind']!r} was left out, {problem}.")
        else:
            run.results[key_of(row)] = row
    _compare_checkpoints(run)
    _read_gallery(run)
    _read_answers(run)
    return run


def _read_answers(run):
    """Predictions, and the names of the classes that they are numbers of."""
    found, problems = read_predictions(run.folder)
    run.problems += problems
    named = {  # the name of a file has no slash
        test_set.replace("/", "-"): test_set for kind, test_set in run.results if kind == "accuracy"
    }
    run.predictions = {named.get(stem, stem): predictions for stem, predictions in found.items()}
    if not run.predictions:
        return
    try:
        classes = torch.load(run.folder / "linear.pt", map_location="cpu", weights_only=True)["classes"]
    except FileNotFoundError:
        run.problems.append("linear.pt is missing: classes are shown by their numbers.")
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, KeyError, ValueError, TypeError) as error:
        run.problems.append(f"linear.pt cannot be read, classes are shown by their numbers: {error}.")
    else:
        run.classes = list(classes) if isinstance(classes, (list, tuple)) else None


def _compare_checkpoints(run):
    """Point out results that are not of the same weights."""
    sources = {}
    for (kind, test_set), row in run.results.items():
        if row.get("checkpoint"):
            sources.setdefault(str(row["checkpoint"]), []).append(f"{kind} {test_set}")
    if len(sources) > 1:
        told = "; ".join(f"{checkpoint}: {', '.join(results)}" for checkpoint, results in sources.items())
        run.problems.append(f"evaluation.jsonl: results are of different checkpoints ({told}): evaluate again to compare like with like.")


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
    """The JSON objects of a file that have a kind; one problem tells of all lines that are something else."""
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
        run.problems.append(f"{file}: {_lines(bad)} could not be read and {'was' if len(bad) == 1 else 'were'} left out.")
    return rows


def _lines(numbers):
    some = ", ".join(map(str, numbers[:5])) + (", …" if len(numbers) > 5 else "")
    return f"line {some}" if len(numbers) == 1 else f"{len(numbers)} lines ({some})"


def _numbers(row):
    return {name: value for name, value in row.items() if is_number(value)}


def _read_gallery(run):
    names = {path.name for path in (run.folder / "gallery").glob("*.jpg")}
    if not names:
        run.problems.append("gallery/ is missing or empty.")
    damaged = []

    def picture(file):
        if file not in names:
            return None
        try:
            return thumbnail(run.folder / "gallery" / file)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # what Pillow raises on damaged files
            damaged.append(file)
            return None

    for i in sorted({int(found[1]) for name in names if (found := re.fullmatch(r"(\d+)-image\.jpg", name))}):
        numbers = sorted(int(found[1]) for name in names if (found := re.fullmatch(rf"{i}-negative-(\d+)\.jpg", name)))
        negatives = [picture(f"{i}-negative-{m}.jpg") for m in numbers[:SHOWN_NEGATIVES]]
        views = {view: picture(f"{i}-{view}.jpg") for view in ("image", "query", "key")}
        run.gallery.append({**views, "negatives": negatives, "left_out": len(numbers) - len(negatives)})
    if damaged:
        run.problems.append(f"gallery/: {', '.join(damaged)} cannot be decoded.")


def thumbnail(source):
    """An image as a data URI, made smaller if need be.

    Args:
        source: the path of an image file, or the bytes of one.
    """
    content = source if isinstance(source, bytes) else Path(source).read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        if max(image.size) <= THUMBNAIL and image.format == "JPEG":
            data = content
        else:
            small = image.convert("RGB")
            small.thumbnail((THUMBNAIL, THUMBNAIL))
            buffer = io.BytesIO()
            small.save(buffer, "JPEG", quality=88)
            data = buffer.getvalue()
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()
