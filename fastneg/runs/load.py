"""The trained encoder of a run folder, ready for evaluation."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from torch import nn

from fastneg.config import PretrainConfig
from fastneg.models.backbones import build_backbone
from fastneg.runs import checkpoint


@dataclass(frozen=True)
class LoadedRun:
    backbone: nn.Module
    """The query encoder without its projector: (N, 3, H, W) → (N, F). It is in eval mode, frozen,
    on the device."""
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
    path, state = checkpoint.newest_with(run, ("config", "method"))
    config = PretrainConfig.read(state["config"])
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
