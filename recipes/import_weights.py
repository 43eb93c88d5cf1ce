"""fastneg import."""

from __future__ import annotations

import torch

from fastneg.config import PretrainConfig
from fastneg.evaluation.imported import classifier_of, keep_classifier
from fastneg.files import OutputError
from fastneg.methods import METHODS
from fastneg.models.preprocessing import FIELDS, config_of_file, preprocessing_for, told
from fastneg.models.weights import load_into, read_weights
from fastneg.runs import checkpoint
from fastneg.runs.environment import environment, write_settings
from fastneg.runs.outputs import run_output

DEFAULT = "resnet50"


def run_import(config):
    """Make a run folder of weights from elsewhere, or of another run."""
    run = run_output(config.run, [config.weights], "RUN")
    if checkpoint.paths(run):
        raise OutputError(f"RUN is {run}, which already holds checkpoints: name a new folder.")
    weights = read_weights(config.weights)
    settings, made = _settings(config, run, weights)
    method = METHODS[settings.method](settings)
    backbone = method.query_encoder.backbone
    taken = load_into(method, weights, config.prefix or None, config.by_order)
    said, head = [*backbone.told, *taken.said], None
    if config.classifier == "on":
        head, line = classifier_of(taken, backbone, settings)
        said.append(line)
    print("\n".join([*said, *told(made)]))
    write_settings(run, settings.as_dict(), environment(torch.device("cpu")))
    state = {
        "step": 0,
        "epoch": 0.0,
        "imported": config.weights,
        "head_imported": taken.head,
        "config": settings.as_dict(),
        "method": method.state_dict(),
    }
    path = checkpoint.save(run, 0, state, keep=1)
    ready = "linear, knn and evaluate"
    if head is not None:
        keep_classifier(run, head, config.weights)
        ready = "evaluate, and for linear, knn and finetune"
    print(f"{path}: ready for fastneg {ready}.")
    return 0


def _settings(config, run, weights):
    """(the PretrainConfig of the folder, how its images are made)"""
    own = weights.config or config_of_file(weights.path)
    backbone = config.backbone or (own.backbone if own else DEFAULT)
    stem = config.stem
    if own and stem == "auto" and backbone == own.backbone:
        stem = own.stem
    given = {name: getattr(config, name) for name in FIELDS}
    made = preprocessing_for(backbone, weights.path, own, **given)
    sizes = {"queue_size": 1}
    if weights.queue is not None:
        sizes = dict(zip(("queue_size", "feature_dim"), weights.queue.shape, strict=True))
    elif own and own.queue_size is not None:
        sizes = {"queue_size": own.queue_size, "feature_dim": own.feature_dim}
    settings = PretrainConfig(
        backbone=backbone,
        stem=stem,
        **made.settings(),
        negatives="none",
        bn="none",
        out=str(run),
        init=config.weights,
        **sizes,
    )
    return settings, made
