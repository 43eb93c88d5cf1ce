"""fastneg import."""

from __future__ import annotations

import torch

from fastneg.config import PretrainConfig
from fastneg.errors import WeightsError
from fastneg.methods import METHODS
from fastneg.models.preprocessing import FIELDS, preprocessing_for, told
from fastneg.models.weights import load_into, read_weights
from fastneg.runs import checkpoint
from fastneg.runs.environment import environment
from fastneg.runs.outputs import run_output
from fastneg.runs.settings import write_settings


def run_import(config):
    """Make a run folder of foreign weights."""
    run = run_output(config.run, [config.weights], "RUN")
    if checkpoint.paths(run):
        raise WeightsError(f"{run} already holds checkpoints: name a new folder.")
    weights = read_weights(config.weights)
    sizes = (
        {}
        if weights.queue is None
        else dict(zip(("queue_size", "feature_dim"), weights.queue.shape, strict=True))
    )
    given = {name: getattr(config, name) for name in FIELDS}
    made = preprocessing_for(config.backbone, config.weights, **given)
    settings = PretrainConfig(
        backbone=config.backbone,
        **made.settings(),
        negatives="none",
        out=str(run),
        init=config.weights,
        **(sizes or {"queue_size": 1}),
    )
    method = METHODS[settings.method](settings)
    said = load_into(method, weights)
    print("\n".join([*said, *told(made)]))
    write_settings(run, settings.as_dict(), environment(torch.device("cpu")))
    origin = {"imported": config.weights, "head_imported": "  head: taken" in said}
    state = {
        "step": 0,
        "epoch": 0.0,
        **origin,
        "config": settings.as_dict(),
        "method": method.state_dict(),
    }
    path = checkpoint.save(run, 0, state, keep=1)
    print(f"{path}: ready for fastneg linear, knn and evaluate.")
    return 0
