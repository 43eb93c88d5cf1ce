"""RUN/linear.pt: the linear classifier that `fastneg linear` trains, and what it was trained on."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from fastneg.config import UnfitError
from fastneg.files import write_atomically
from fastneg.runs import checkpoint
from fastneg.runs.paths import CLASSIFIER

NEEDED = ("digest", "checkpoint", "classes", "weight", "bias")


def classifier_path(run):
    return Path(run) / CLASSIFIER


def classifier_key(weight, bias):
    """12 hex digits that tell a classifier from others, by its float32 weight (C, F) and bias (C,).

    Lines of evaluation.jsonl have it: linear.pt may be another one by the time they are read.
    """
    digest = hashlib.sha256()
    for values in (weight, bias):
        digest.update(values.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def write_classifier(run, content):
    """Write a dict, which holds `NEEDED` and "format", through a temporary name."""
    write_atomically(classifier_path(run), lambda file: torch.save(content, file))


def read_classifier(run):
    """The dict.

    Raises:
        ConfigError: there is none. CheckpointError: it cannot be read, or misses a part.
    """
    path = classifier_path(run)
    if not path.exists():
        raise UnfitError(
            f"{run} holds no linear.pt: run fastneg linear --run {run} --train A.beton --val "
            "B.beton first."
        )
    content = checkpoint.load(path)
    checkpoint.require(path, content, NEEDED)
    return content
