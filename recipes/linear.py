"""fastneg linear."""

from __future__ import annotations

import time

from fastneg.data.labels import class_count, join_labels, labels_of
from fastneg.data.shards import open_data
from fastneg.evaluation.features import features_of
from fastneg.evaluation.linear import EPOCHS, LEARNING_RATE, save_linear, train_on_crops, train_on_features
from fastneg.evaluation.metrics import accuracy
from fastneg.evaluation.run import append_result, load_run
from fastneg.training.distributed import choose_device


def run_linear(config):
    """Train the classifier, store it, print and append the accuracy of its last epoch."""
    began, device = time.perf_counter(), choose_device(config.device)
    loaded = load_run(config.run, device)
    mode = loaded.config.probe if config.mode == "auto" else config.mode
    settings = {
        "epochs": config.epochs or EPOCHS[mode],
        "lr": config.lr or LEARNING_RATE,
        "batch_size": config.batch_size,
        "weight_decay": config.weight_decay,
        "seed": config.seed,
    }
    with open_data(config.train) as train, open_data(config.val) as val:
        labels, count = labels_of(train), class_count(train)
        val_labels = join_labels(val, train.classes, count)[0]  # before the training, so that a wrong file costs no hour
        if mode == "crops":
            head = train_on_crops(loaded, train, labels, count, device=device, threads=config.threads, **settings)
        else:
            features = features_of(config.run, loaded, train, device, config.threads).features
            head = train_on_features(features, labels, count, device=device, **settings)
        head.classes = train.classes
        features = features_of(config.run, loaded, val, device, config.threads).features
        result = accuracy(head.logits(features, device), val_labels)
    save_linear(config.run, head, loaded, mode=mode, train=str(config.train), **settings)
    row = {"kind": "linear", "set": "val", "path": str(config.val), **result.figures(), "mode": mode}
    row |= {"checkpoint": loaded.checkpoint, **settings}
    append_result(config.run, row)
    print(
        f"Linear probe on {mode}, epoch {settings['epochs']} of {settings['epochs']}: top-1 {result.top1:.2f}%, top-5 {result.top5:.2f}% "
        f"of {result.images} images in {result.classes} classes ({loaded.checkpoint}, {time.perf_counter() - began:.0f} s)."
    )
    return 0
