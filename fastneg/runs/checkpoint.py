"""Checkpoints: complete or absent, the newest ones kept, read without running code they may
contain."""

from __future__ import annotations

import fnmatch
import os
from pathlib import Path

import torch

from fastneg.counts import counted
from fastneg.errors import CheckpointError
from fastneg.files import write_atomically
from fastneg.models.torch_files import UnreadableError, load_file, not_finite
from fastneg.runs.paths import CHECKPOINT_NAMES, CHECKPOINTS, NONFINITE, checkpoint_path

FORMAT = 1


def save(run, step, state, keep, keep_too=lambda step: False):
    """Write RUN/checkpoints/step-<step>.pt through a temporary name, then drop all but the newest
    ones; returns the path.

    Args:
        state: what torch.load(weights_only=True) can read.
        keep: how many of the newest stay.
        keep_too: of a step, whether its checkpoint stays however old it is.
    Raises:
        CheckpointError: it could not be written. Those from before are as they were.
    """
    path = checkpoint_path(run, step)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        write_atomically(path, lambda file: torch.save({"format": FORMAT, **state}, file))
    except (OSError, RuntimeError) as error:  # torch makes a RuntimeError of some failed writes
        cause = error.__context__ if isinstance(error.__context__, OSError) else error
        raise CheckpointError(
            f"{path} could not be written ({cause}): free space there. Earlier checkpoints are "
            "intact, and the same command resumes from the newest."
        ) from error
    for old in paths(run)[:-keep]:
        if not keep_too(step_of(old)):
            old.unlink()
    return path


def remove_unfinished(run):
    """Remove what a process that was killed while it wrote left under temporary names; no other
    process may be writing."""
    for folder in (Path(run), Path(run) / CHECKPOINTS, Path(run) / NONFINITE):
        for temporary in folder.glob(".*.tmp"):
            temporary.unlink()


def step_of(path):
    """The step in a checkpoint's name."""
    return int(path.stem.removeprefix("step-"))


def paths(run):
    """The checkpoints of a run, oldest first."""
    folder = Path(run) / CHECKPOINTS
    # Unlike a glob, which finds nothing in a folder that it cannot read: the training would begin
    # anew.
    names = os.listdir(folder) if folder.is_dir() else ()
    return sorted(folder / name for name in names if fnmatch.fnmatch(name, CHECKPOINT_NAMES))


def load(path, device="cpu"):
    """The state of one checkpoint; CheckpointError if it cannot be read."""
    try:
        state = load_file(path, device)
    except UnreadableError as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from error
    if not isinstance(state, dict) or "format" not in state:
        raise CheckpointError(
            f"{path} cannot be read: it is not a checkpoint or other file of a fastneg run."
        )
    if state["format"] != FORMAT:
        raise CheckpointError(
            f"{path} has checkpoint format {state['format']}, but this version of fastneg reads "
            f"{FORMAT}."
        )
    return state


def require(path, state, names):
    """CheckpointError unless the state read from `path` holds these parts."""
    if missing := [name for name in names if name not in state]:
        raise CheckpointError(
            f"{path} cannot be read: it holds no {' and no '.join(missing)}, which were expected."
        )


def newest_with(run, names):
    """(path, state) of the newest checkpoint that can be read, which must hold these parts.

    Raises:
        CheckpointError: the folder holds none, none can be read, or a part is missing.
    """
    found = load_newest(run)
    if found is None:
        raise CheckpointError(
            f"{run} holds no checkpoint: a folder that fastneg pretrain wrote was expected."
        )
    require(*found, names)
    return found


def _load_finite(path, device):
    """As `load`, of a checkpoint, the weights of which must be finite."""
    state = load(path, device)
    if bad := not_finite(state.get("method", {})):
        raise CheckpointError(
            f"{path} cannot be used: {len(bad)} of its tensors hold values that are not finite "
            f"(first: {bad[0]})."
        )
    return state


def load_newest(run, device="cpu", report=print):
    """(path, state) of the newest checkpoint that can be read, or None where there is none; damaged
    ones are reported.

    Raises:
        CheckpointError: there are checkpoints, and none can be read.
    """
    candidates = paths(run)[::-1]
    for path in candidates:
        try:
            return path, _load_finite(path, device)
        except CheckpointError as error:
            report(f"{error} Trying the one before.")
    if candidates:
        raise CheckpointError(
            f"None of the {counted(len(candidates), 'checkpoint')} in {run} can be read."
        )
    return None
