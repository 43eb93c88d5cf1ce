"""Checks of outputs against the files of a run folder. Nothing is opened for writing here."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from fastneg.data.encode.outputs import named, named_data
from fastneg.files import OutputError, is_below, json_rows, output_file, output_folder
from fastneg.runs.paths import (
    CHECKPOINT_NAMES,
    CHECKPOINTS,
    CONFIG,
    FILES,
    FOLDERS,
    RESULTS,
    predictions_path,
)
from fastneg.writable import refuse_unwritable

DATA_FIELDS = ("data", "knn_train", "knn_val", "init")
"""Fields of a run's config that name files."""


def run_output(run, inputs=(), flag="--out"):
    """The folder of a new run, or of one that goes on, as a Path.

    Args:
        run: the folder.
        inputs: paths of what the command reads.
        flag: how the command line calls the folder.
    Raises:
        OutputError: it is no folder, holds an input, has a file of a run's that is an input or no
            file, or has a config.json that no run wrote.
    """
    run = output_folder(run, flag, inputs)
    evaluation_output(run, inputs, flag)
    config = run / CONFIG
    ours = "negatives" in _object(config) or any((run / CHECKPOINTS).glob(CHECKPOINT_NAMES))
    if config.exists() and not ours:
        raise OutputError(
            f"{flag} is {run}, which holds a config.json that is not fastneg's and would be "
            "replaced: name another folder."
        )
    return run


def evaluation_output(run, inputs=(), flag="--run", predictions=()):
    """OutputError if a file that is written into a run folder is an input or no file, UnfitError if
    nothing can be written there.

    Args:
        run, inputs, flag: as of `run_output`.
        predictions: names of test sets.
    """
    run = Path(run)
    answers = [str(predictions_path(run, name).relative_to(run)) for name in predictions]
    files = [path for path in inputs if not os.path.isdir(path)]
    if run.is_dir():
        refuse_unwritable(run, flag)
    for name in (*FILES, *answers):
        path = run / name
        # Folders of test sets may hold millions of files: a file with one name is none of them.
        several = path.is_symlink() or (path.is_file() and path.stat().st_nlink > 1)
        output_file(path, f"{name} of {flag}", inputs if several else files)
    for name in FOLDERS:
        output_folder(run / name, f"{name} of {flag}")


def run_inputs(run):
    """The files of a run folder, and those that it names as its data: what export and report read.

    A folder of images is none of them: an output is an image of it by name only.
    """
    run = Path(run)
    found = [run / name for name in FILES]
    for folder in FOLDERS:
        found += [each for each in (run / folder).rglob("*") if each.is_file()]
    config = _object(run / CONFIG)
    specs = [config.get(name) for name in DATA_FIELDS]
    with contextlib.suppress(OSError):  # of a file that cannot be read nothing is known
        specs += [row.get("path") for row in json_rows(run / RESULTS)]
    texts = dict.fromkeys(spec for spec in specs if isinstance(spec, str) and spec)
    return [*found, *(path for path in named_data(*texts) if not os.path.isdir(path))]


def refuse_among(path, run, flag="OUT"):
    """OutputError if a path lies where a run keeps files of its own."""
    real, base = (Path(os.path.realpath(each)) for each in (path, run))
    for name in FOLDERS:
        if real.is_relative_to(base / name) or is_below(path, base / name):
            raise OutputError(
                f"{flag} is {path}, which is in {Path(run) / name}, where the run keeps its own "
                "files: name another place."
            )
    if real.name in FILES and real.parent == base:
        raise OutputError(
            f"{flag} is {path}, the name of a file that the run {run} keeps: name another."
        )


def export_output(config):
    """Where `fastneg export` writes, as a Path; OutputError if that is a file of the run."""
    inputs = run_inputs(config.run)
    if config.format == "huggingface":
        from fastneg.models.export import HUGGINGFACE  # which imports torch

        out = output_folder(config.out, "OUT", inputs, apart_from=[config.run])
        for name in HUGGINGFACE:
            output_file(out / name, f"{name} of OUT", inputs)
        return out
    out = output_file(config.out, "OUT", inputs)
    refuse_among(config.out, config.run)
    return out


def pretrain_output(config):
    """The run folder of a PretrainConfig, as a Path; OutputError as of `run_output`."""
    inputs = named_data(config.data, config.knn_train, config.knn_val)
    return run_output(config.out, inputs + named(config.init))


def _object(path):
    """The JSON object of a small file, {} where there is none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
