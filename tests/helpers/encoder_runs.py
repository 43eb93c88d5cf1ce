"""Run folders with an untrained encoder, with a classifier on it, and their evaluation."""

import torch

from fastneg.config import EvaluateConfig, LinearConfig
from fastneg.models.backbones import build_backbone
from fastneg.recipes.evaluate import run_evaluate
from fastneg.recipes.linear import run_linear
from fastneg.recipes.presets import tiny_cpu
from fastneg.runs import checkpoint
from helpers.tinted import SIZE, make_beton


def make_run(folder, seed=0, step=1, **changes):
    """A run folder with an untrained encoder of which the batch statistics fit its inputs."""
    torch.manual_seed(seed)
    backbone, _ = build_backbone("resnet_tiny")
    backbone.train()(torch.randn(64, 3, SIZE, SIZE))
    config = tiny_cpu().replace(out=str(folder), image_size=SIZE, eval_resize=SIZE, **changes)
    state = {
        f"query_encoder.backbone.{name}": value for name, value in backbone.state_dict().items()
    }
    checkpoint.save(folder, step, {"config": config.as_dict(), "method": state}, keep=3)
    return folder


def silent(text):
    pass


def probe(run, train, val=None, epochs=8):
    """Train a run's classifier on stored features; val: the training file itself."""
    options = {"mode": "features", "epochs": epochs, "lr": 1.0, "batch_size": 16}
    files = (str(run), str(train), str(val or train))
    run_linear(LinearConfig(*files, device="cpu", threads=1, **options))


def make_probed(folder, classes=("a", "b", "c", "d"), count=36):
    """A run with a classifier of these classes."""
    run = make_run(folder / "run")
    probe(run, make_beton(folder / "train.beton", count, classes=classes))
    return run


def evaluate(run, sets, **options):
    return run_evaluate(EvaluateConfig(str(run), sets, device="cpu", threads=1, **options))
