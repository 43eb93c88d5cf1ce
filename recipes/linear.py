"""fastneg linear."""

from __future__ import annotations

import time

import torch

from fastneg.distributed import choose_device
from fastneg.evaluation.accuracy import accuracy
from fastneg.evaluation.features import features_of
from fastneg.evaluation.label_splits import few_shot
from fastneg.evaluation.linear import (
    EPOCHS,
    LEARNING_RATE,
    save_linear,
    train_on_crops,
    train_on_features,
)
from fastneg.evaluation.logistic import fit_on_features
from fastneg.evaluation.shared import train_facts
from fastneg.evaluation.untrained import KIND, untrained_of, verdict
from fastneg.options import ConfigError
from fastneg.recipes.labelled import open_labelled, told
from fastneg.runs.classifier import classifier_key
from fastneg.runs.load import load_run
from fastneg.runs.results import append_result

SETTINGS = ("epochs", "lr", "batch_size", "weight_decay", "seed", "sweep")
"""Fields of a line that tell how its classifier was trained."""


def run_linear(config):
    """Train the classifier, store it, print and append its accuracy: with SGD that of the last
    epoch. A few-shot probe is not stored."""
    began, device = time.perf_counter(), choose_device(config.device)
    loaded = load_run(config.run, device)
    mode, few = mode_of(config, loaded), config.share < 100
    with open_labelled(config, loaded.config.cache_dir) as data:
        rows = few_shot(data.labels, config.share, config.seed) if few else None
        head, row, told_result = _probe(config, loaded, data, mode, rows, device)
        row = {"kind": "few_shot" if few else "linear", **row, "checkpoint": loaded.checkpoint}
        if few:
            row |= {"share": config.share}
        else:
            settings = {name: row[name] for name in SETTINGS if name in row}
            row["classifier"] = classifier_key(head.weight, head.bias)
            save_linear(
                config.run,
                head,
                loaded,
                mode=mode,
                **train_facts(config.train, data.train),
                **settings,
            )
        append_result(config.run, row)
        share = f"{config.share:g}% of the labels, " if few else ""
        seconds = time.perf_counter() - began
        print(f"Linear probe on {share}{told_result} ({loaded.checkpoint}, {seconds:.0f} s).")
        if config.untrained == "on":
            _untrained(config, loaded, data, mode, row, device)
    return 0


def _untrained(config, loaded, data, mode, trained, device):
    """The same for the run's network as it was before training; says where training gained
    nothing."""
    print("The same network, untrained:")
    _, row, told_result = _probe(config, untrained_of(loaded, device), data, mode, None, device)
    row = {"kind": KIND, **row, "weights": f"before training, seed {loaded.config.seed}"}
    append_result(config.run, row)
    print(f"Linear probe on an untrained encoder, {told_result}.")
    if said := verdict(trained, row):
        print(f"NOTE: {loaded.checkpoint} is {said}.")


def _probe(config, loaded, data, mode, rows, device):
    """(classifier, the fields of its line of evaluation.jsonl, what to print of it)

    Args:
        rows: (n,) positions in the training file to train on; None: all.
    """
    labels = data.labels
    if mode == "crops":
        settings, threads = _sgd_settings(config, mode), config.threads
        options = {"samples": rows, "device": device, "threads": threads, **settings}
        head = train_on_crops(loaded, data.train, labels, data.count, **options)
    else:
        found = features_of(config.run, loaded, data.train, device, config.threads)
        if rows is not None:
            rows = rows[torch.isin(rows, found.index)]  # without those that could not be used
        features = (
            found.features
            if rows is None
            else found.features[torch.searchsorted(found.index, rows)]
        )
        labels = labels[found.index if rows is None else rows]
        head, settings = _train(mode, config, features, labels, data.count, device)
    head.classes = data.train.classes
    found = features_of(config.run, loaded, data.val, device, config.threads)
    result = accuracy(head.logits(found.features, device), data.val_labels[found.index])
    row = {"set": "val", "path": str(config.val), **result.figures(), "mode": mode}
    row |= {"skipped": len(found.skipped), **data.fields(), **settings}
    row |= {} if rows is None else {"train_images": len(rows)}
    if mode == "lbfgs":
        how = f"weight decay {settings['weight_decay']:g}"
    else:
        how = f"epoch {settings['epochs']} of {settings['epochs']}"
    return head, row, f"{mode}, {how}: {told(result, data.shared)}"


def mode_of(config, loaded):
    """The probe that a LinearConfig asks for; ConfigError where one of its settings would have no
    effect."""
    if config.mode == "auto":
        mode = "lbfgs" if config.share < 100 else loaded.config.probe
    else:
        mode = config.mode
    useless = [name for name in ("epochs", "lr", "batch_size") if getattr(config, name) is not None]
    if mode == "lbfgs" and useless:
        raise ConfigError(
            f"--{useless[0]} has no effect with --mode lbfgs: leave it out, or take --mode "
            "features."
        )
    return mode


def _sgd_settings(config, mode):
    settings = {
        "epochs": config.epochs or EPOCHS[mode],
        "lr": config.lr or LEARNING_RATE,
        "batch_size": config.batch_size or 128,
    }
    return {**settings, "weight_decay": config.weight_decay or 0.0, "seed": config.seed}


def _train(mode, config, features, labels, count, device):
    """(classifier, what to tell of its training)"""
    if mode == "features":
        settings = _sgd_settings(config, mode)
        return train_on_features(features, labels, count, device=device, **settings), settings
    fitted = fit_on_features(
        features, labels, count, weight_decay=config.weight_decay, seed=config.seed, device=device
    )
    for penalty, top1 in fitted.sweep.items():
        print(f"weight decay {penalty:g}: {top1:.2f}% of the held-out training images")
    sweep = {f"{penalty:g}": top1 for penalty, top1 in fitted.sweep.items()}
    return fitted.head, {"weight_decay": fitted.weight_decay, "seed": config.seed, "sweep": sweep}
