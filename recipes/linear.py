"""fastneg linear."""

from __future__ import annotations

import time

from fastneg.config import ConfigError
from fastneg.data.labels import class_count, join_labels, labels_of
from fastneg.data.shards import open_data
from fastneg.evaluation.features import features_of
from fastneg.evaluation.linear import EPOCHS, LEARNING_RATE, save_linear, train_on_crops, train_on_features
from fastneg.evaluation.logistic import few_shot, fit_on_features
from fastneg.evaluation.metrics import accuracy
from fastneg.evaluation.run import append_result, load_run
from fastneg.training.distributed import choose_device


def run_linear(config):
    """Train the classifier, store it, print and append its accuracy: with SGD that of the last epoch. A few-shot probe is not stored."""
    began, device = time.perf_counter(), choose_device(config.device)
    loaded = load_run(config.run, device)
    mode, few = mode_of(config, loaded), config.share < 100
    with open_data(config.train) as train, open_data(config.val) as val:
        labels, count = labels_of(train), class_count(train)
        val_labels = join_labels(val, train.classes, count)[0]  # before the training, so that a wrong file costs no hour
        if mode == "crops":
            settings = _sgd_settings(config, mode)
            head = train_on_crops(loaded, train, labels, count, device=device, threads=config.threads, **settings)
        else:
            features = features_of(config.run, loaded, train, device, config.threads).features
            if few:
                rows = few_shot(labels, config.share, config.seed)
                features, labels = features[rows], labels[rows]
            head, settings = _train(mode, config, features, labels, count, device)
        head.classes = train.classes
        features = features_of(config.run, loaded, val, device, config.threads).features
        result = accuracy(head.logits(features, device), val_labels)
    row = {"kind": "few_shot" if few else "linear", "set": "val", "path": str(config.val), **result.figures(), "mode": mode}
    row |= {"checkpoint": loaded.checkpoint, **settings} | ({"share": config.share, "train_images": len(labels)} if few else {})
    if not few:
        save_linear(config.run, head, loaded, mode=mode, train=str(config.train), **settings)
    append_result(config.run, row)
    how = f"weight decay {settings['weight_decay']:g}" if mode == "lbfgs" else f"epoch {settings['epochs']} of {settings['epochs']}"
    print(
        f"Linear probe on {f'{config.share:g}% of the labels, ' if few else ''}{mode}, {how}: "
        f"top-1 {result.top1:.2f}% ({result.top1_interval[0]:.2f} to {result.top1_interval[1]:.2f}), top-5 {result.top5:.2f}% "
        f"of {result.images} images in {result.classes} classes ({loaded.checkpoint}, {time.perf_counter() - began:.0f} s)."
    )
    return 0


def mode_of(config, loaded):
    """The probe that a LinearConfig asks for; ConfigError where one of its settings would have no effect."""
    if config.mode == "auto":
        mode = "lbfgs" if config.share < 100 else loaded.config.probe
    else:
        mode = config.mode
    if mode == "crops" and config.share < 100:
        raise ConfigError("--share is for stored features: --mode lbfgs or features was expected, not crops.")
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
