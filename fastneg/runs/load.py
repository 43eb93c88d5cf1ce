"""The trained encoder of a run folder, ready for evaluation."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from fastneg.config import ConfigError, PretrainConfig
from fastneg.errors import CheckpointError
from fastneg.models.backbones import build_backbone
from fastneg.runs import checkpoint


@dataclass(frozen=True)
class LoadedRun:
    backbone: nn.Module
    """The query encoder without its projector:

    (N, 3, H, W) → (N, F); in eval mode, frozen, on the device.
    """
    feature_dim: int
    """F."""
    config: PretrainConfig
    checkpoint: str
    """File name of the checkpoint."""
    digest: str
    """SHA-256 of the weights."""


def load_run(run, device="cpu"):
    """The backbone of the newest readable checkpoint of a run.

    Raises:
        CheckpointError: the folder holds none.
    """
    found = checkpoint.load_newest(run)
    if found is None:
        raise CheckpointError(
            f"{run} holds no checkpoint: a folder that fastneg pretrain wrote was expected."
        )
    path, state = found
    checkpoint.require(path, state, ("config", "method"))
    config = PretrainConfig(**state["config"])
    backbone, width = build_backbone(config.backbone, config.image_size)
    prefix = "query_encoder.backbone."
    backbone.load_state_dict(
        {
            name[len(prefix) :]: value
            for name, value in state["method"].items()
            if name.startswith(prefix)
        }
    )
    return LoadedRun(
        backbone.eval().requires_grad_(False).to(device),
        width,
        config,
        path.name,
        weights_digest(backbone),
    )


def weights_digest(module):
    """SHA-256 over the names and bytes of a module's parameters and buffers."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).numpy().tobytes())
    return digest.hexdigest()


def append_result(run, row):
    """Add one line to RUN/evaluation.jsonl; a later line of the same kind and set replaces an
    earlier one for every reader."""
    with open(Path(run) / "evaluation.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def results_of(run):
    """The lines of RUN/evaluation.jsonl, as far as they can be read."""
    path = Path(run) / "evaluation.jsonl"
    for line in (
        path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ()
    ):
        try:
            row = json.loads(line)
        except ValueError:
            continue  # a job that was stopped while it wrote; the report tells of it
        if isinstance(row, dict):
            yield row


def refuse_other(run, name, field, value, words):
    """Keep a set's figures of one kind from silently replacing those of another: both would stand
    under its name.

    Args:
        field: of the lines of evaluation.jsonl, which tells the kinds apart.
        value: of the new figures.
        words: what the field is, before its value, in a message.
    Raises:
        ConfigError: RUN/evaluation.jsonl holds figures of the set with another value there.
    """
    path, found = Path(run) / "evaluation.jsonl", None
    for row in results_of(run):
        if row.get("set") == name:
            found = str(row.get(field) or "") or found
    if found not in (None, value):
        raise ConfigError(
            f"{path} holds figures of {name} {words} {found}, which those {words} {value} would "
            f"replace: give the set another name, such as {name}-{value.replace(' ', '-')}=PATH."
        )
