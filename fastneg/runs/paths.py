"""The names of all files in a run folder."""

from __future__ import annotations

from pathlib import Path

CONFIG = "config.json"
ENVIRONMENT = "environment.json"
METRICS = "metrics.jsonl"
"""Figures of the training, a line each."""
RESULTS = "evaluation.jsonl"
"""Figures of the evaluation, a line each."""
QUARANTINE = "quarantine.json"
"""Samples that could not be used."""
CLASSIFIER = "linear.pt"
WANDB_ID = "wandb-id"
LOCK = ".lock"
FILES = (CONFIG, ENVIRONMENT, METRICS, RESULTS, QUARANTINE, CLASSIFIER, WANDB_ID, LOCK)
"""Files of a run beside its folders."""

CHECKPOINTS = "checkpoints"
CHECKPOINT_NAMES = "step-*.pt"
FEATURES = "features"
"""Features of test sets, kept for the next evaluation."""
GALLERY = "gallery"
NONFINITE = "nonfinite"
"""Steps whose loss or gradient was not finite."""
PREDICTIONS = "predictions"
PROFILE = "profile"
"""Traces of steps, and tables of their parts."""
SETS = "sets"
"""Test sets that were folders, as .beton files."""
TENSORBOARD = "tensorboard"
WANDB = "wandb"
FOLDERS = (
    CHECKPOINTS, FEATURES, GALLERY, NONFINITE, PREDICTIONS, PROFILE, SETS, TENSORBOARD, WANDB,
)  # fmt: skip


def is_run(folder):
    """Whether a folder is one that a training or an import wrote."""
    return (Path(folder) / CHECKPOINTS).is_dir()


def checkpoint_path(run, step):
    """RUN/checkpoints/step-<step>.pt."""
    return Path(run) / CHECKPOINTS / f"step-{step:09d}.pt"


def dump_path(run, step, rank):
    """RUN/nonfinite/step-<step>-rank<rank>.pt: the step that a process could not take."""
    return Path(run) / NONFINITE / f"step-{step:09d}-rank{rank}.pt"


def profile_path(run, name):
    """RUN/profile/<name>."""
    return Path(run) / PROFILE / name


def predictions_path(run, test_set):
    """RUN/predictions/<set>.npz; the name of a file has no slash."""
    return Path(run) / PREDICTIONS / f"{test_set.replace('/', '-')}.npz"


def features_path(run, digest):
    """RUN/features/<digest>.pt, by what the features depend on."""
    return Path(run) / FEATURES / f"{digest}.pt"


def set_path(run, name):
    """RUN/sets/<name>.beton."""
    return Path(run) / SETS / f"{name}.beton"
