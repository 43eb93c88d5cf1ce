"""The same probe on an untrained encoder, to compare with.

Even random convolutions keep colour and texture, so that a linear classifier on them is far above
chance: a trained encoder must be above that.
"""

from __future__ import annotations

import dataclasses

import torch

from fastneg.models.backbones import backbone_of
from fastneg.runs.load import weights_digest
from fastneg.runs.results import results_of

KIND = "untrained"
"""The kind of the line of evaluation.jsonl that holds its accuracy."""
COMPARED = ("path", "mode", "images", "classes", "epochs", "lr", "batch_size", "seed")
"""Fields in which it must agree with the line of kind linear to be compared with it."""


def untrained_of(loaded, device="cpu"):
    """The `LoadedRun` of a run's network with the weights that its seed gives it before training.

    Args:
        loaded: the run's `LoadedRun`; it stays as it is.
    """
    config = loaded.config
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        backbone, _ = backbone_of(config)
    backbone = backbone.eval().requires_grad_(False).to(device)
    digest = weights_digest(backbone)
    return dataclasses.replace(loaded, backbone=backbone, checkpoint="untrained", digest=digest)


def verdict(linear, untrained):
    """What to say of a trained encoder that is at or below an untrained one; "" where it is above.

    At: the 95% intervals of both over the images overlap.

    Args:
        linear, untrained: rows of evaluation.jsonl, or None. Rows of other files or settings of the
            probe are not compared.
    """
    if linear is None or untrained is None:
        return ""
    if any(linear.get(name) != untrained.get(name) for name in COMPARED):
        return ""
    low = linear.get("top1_interval", [linear["top1"]])[0]
    high = untrained.get("top1_interval", [untrained["top1"]])[-1]
    if low > high:
        return ""
    figures = f"{linear['top1']:.1f}% against {untrained['top1']:.1f}% for the linear probe"
    overlap = "" if linear["top1"] <= untrained["top1"] else "; their 95% intervals overlap"
    return f"at or below an untrained encoder: {figures}{overlap}"


def verdict_of(run):
    """`verdict` of the last such lines of RUN/evaluation.jsonl."""
    rows = [row for row in results_of(run) if isinstance(row.get("top1"), (int, float))]
    found = {row.get("kind"): row for row in rows}
    return verdict(found.get("linear"), found.get(KIND))
