"""fastneg linear."""

from __future__ import annotations

import time

import torch

from fastneg.config import ConfigError
from fastneg.evaluation.class_rows import few_shot
from fastneg.evaluation.features import features_of
from fastneg.evaluation.linear import EPOCHS, LEARNING_RATE, save_linear, train_on_crops, train_on_features
from fastneg.evaluation.logistic import fit_on_features
from fastneg.evaluation.metrics import accuracy
from fastneg.evaluation.run import append_result, load_run
from fastneg.evaluation.shared import train_facts
from fastneg.recipes.labelled import open_labelled, told
from fastneg.training.distributed import choose_device


def run_linear(config):
    """Train the classifier, store it, print and append its accuracy: with SGD that of the last epoch. A few-shot probe is not stored."""
    began, device = time.perf_counter(), choose_device(config.device)
    loaded = load_run(config.run, device)
    mode, few = mode_of(config, loaded), config.share < 100
    with open_labelled(config) as data:
        labels = data.labels
        rows = few_shot(labels, config.share, config.seed) if few else None
        if mode == "crops":
            settings = _sgd_settings(config, mode)
            head = train_on_crops(loaded, data.train, labels, data.count, samples=rows, device=device, threads=config.threads, **settings)
        else:
            found = features_of(config.run, loaded, data.train, device, config.threads)
            if few:
                rows = rows[torch.isin(rows, found.index)]  # without those that could not be used
            features = found.features if rows is None else found.features[torch.searchsorted(found.index, rows)]
            labels = labels[found.index if rows is None else rows]
            head, settings = _train(mode, config, features, labels, data.count, device)
        head.classes = data.train.classes
        found = features_of(config.run, loaded, data.val, device, config.threads)
        result = accuracy(head.logits(found.features, device), data.val_labels[found.index])
    row = {"kind": "few_shot" if few else "linear", "set": "val", "path": str(config.val), **result.figures(), "mode": mode}
    row |= {"skipped": len(found.skipped), **data.field(), "checkpoint": loaded.checkpoint, **settings}
    row |= {"share": config.share, "train_images": len(rows)} if few else {}
    if not few:
        save_linear(config.run, head, loaded, mode=mode, **train_facts(config.train, data.train), **settings)
    append_result(config.run, row)
    how = f"weight decay {settings['weight_decay']:g}" if mode == "lbfgs" else f"epoch {settings['epochs']} of {settings['epochs']}"
    print(
        f"Linear probe on {f'{config.share:g}% of the labels, ' if few else ''}{mode}, {how}: {told(result, data.shared)} "
        f"({loaded.checkpoint}, {time.perf_counter() - began:.0f} s)."
    )
    return 0


def mode_of(config, loaded):
    """The probe that a LinearConfig asks for; ConfigError where one of its settings would have no effect."""
    if config.mode == "auto":
        mode = "lbfgs" if config.share < 100 else loaded.config.probe
    else:
        mode = config.mode
    useless = [name for name in ("epochs", "lr", "batch_size") if getattr(config, name) is not None]
    if mode == "lbfgs" and useless:
        raise ConfigError(f"--{useless[0]} has no effect with --mode lbfgs: leave it out, or take --mode features.")
    return mode


def _sgd_settings(config, mode):
    settings = {"epochs": config.epochs or EPOCHS[mode], "lr": config.lr or LEARNING_RATE, "batch_size": config.batch_size or 128}
    return {**settings, "weight_decay": config.weight_decay or 0.0, "seed": config.seed}


def _train(mode, config, features, labels, count, device):
    """(classifier, what to tell of its training)"""
    if mode == "features":
        settings = _sgd_settings(config, mode)
        return train_on_features(features, labels, count, device=device, **settings), settings
    fitted = fit_on_features(features, labels, count, weight_decay=config.weight_decay, seed=config.seed, device=device)
    for penalty, top1 in fitted.sweep.items():
        print(f"weight decay {penalty:g}: {top1:.2f}% of the held-out training images")
    sweep = {f"{penalty:g}": top1 for penalty, top1 in fitted.sweep.items()}
    return fitted.head, {"weight_decay": fitted.weight_decay, "seed": config.seed, "sweep": sweep}
