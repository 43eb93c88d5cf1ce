"""What a run folder tells, as far as it can be read."""

from __future__ import annotations

import base64
import io
import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from fastneg.config import ConfigError

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
    """{(kind, set): the last line of evaluation.jsonl of that kind and set}."""
    gallery: list = field(default_factory=list)
    """For each image of the gallery {"image": data URI, "query": …, "key": …, "negatives": [data URI, …], "left_out": n}."""
    problems: list = field(default_factory=list)


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
        problem = _misfit(row)
        if problem:
            run.problems.append(f"evaluation.jsonl: a line of kind {row['kind']!r} was left out, {problem}.")
        else:
            run.results[row["kind"], row["set"]] = row
    _compare_checkpoints(run)
    _read_gallery(run)
    return run


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


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _numbers(row):
    return {name: value for name, value in row.items() if is_number(value)}


def _misfit(row):
    """Why a line of evaluation.jsonl cannot be shown, or None."""
    if not isinstance(row.get("set"), str):
        return "it names no set"
    kind = row["kind"]
    if kind in ("linear", "knn", "accuracy") and not is_number(row.get("top1")):
        return "top1 is no number"
    if kind == "corruptions":
        series = row.get("by_corruption")
        fits = isinstance(series, dict) and series and all(isinstance(v, list) and len(v) == 5 for v in series.values())
        fits = fits and all(is_number(percent) for five in series.values() for percent in five)
        if not fits or not is_number(row.get("mean_top1")):
            return "mean_top1 and five numbers for each corruption were expected"
    if kind == "shape_bias":
        counts = row.get("by_category")
        fits = isinstance(counts, dict) and all(
            isinstance(c, dict) and all(is_number(c.get(answer)) for answer in ("shape", "texture", "other")) for c in counts.values()
        )
        if not fits or not is_number(row.get("coverage")) or not (row.get("shape_bias") is None or is_number(row["shape_bias"])):
            return "shape_bias, coverage and three counts for each category were expected"
    return None


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


def thumbnail(path):
    """An image file as a data URI, made smaller if need be."""
    with Image.open(path) as image:
        image.load()
        if max(image.size) <= THUMBNAIL and image.format == "JPEG":
            data = Path(path).read_bytes()
        else:
            small = image.convert("RGB")
            small.thumbnail((THUMBNAIL, THUMBNAIL))
            buffer = io.BytesIO()
            small.save(buffer, "JPEG", quality=88)
            data = buffer.getvalue()
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()
