"""fastneg finetune."""

from __future__ import annotations

import time

from fastneg.data.labels import class_count, join_labels, labels_of
from fastneg.data.shards import open_data
from fastneg.evaluation.finetune import fine_tune, fine_tuned_logits
from fastneg.evaluation.metrics import accuracy
from fastneg.evaluation.run import append_result, load_run
from fastneg.training.distributed import choose_device


def run_finetune(config):
    """Train encoder and classifier, print and append the accuracy of the last epoch. Neither is stored."""
    began, device = time.perf_counter(), choose_device(config.device)
    loaded = load_run(config.run, device)
    settings = {name: getattr(config, name) for name in ("epochs", "lr", "head_lr", "batch_size", "weight_decay", "seed")}
    with open_data(config.train) as train, open_data(config.val) as val:
        labels, count = labels_of(train), class_count(train)
        val_labels = join_labels(val, train.classes, count)[0]  # before the training, so that a wrong file costs no hour
        backbone, head = fine_tune(loaded, train, labels, count, device=device, threads=config.threads, **settings)
        result = accuracy(fine_tuned_logits(backbone, head, loaded, val, device=device, threads=config.threads), val_labels)
    row = {"kind": "finetune", "set": "val", "path": str(config.val), **result.figures(), "checkpoint": loaded.checkpoint, **settings}
    append_result(config.run, row)
    print(
        f"Fine-tuned, epoch {config.epochs} of {config.epochs}: top-1 {result.top1:.2f}% ({result.top1_interval[0]:.2f} to "
        f"{result.top1_interval[1]:.2f}), top-5 {result.top5:.2f}% of {result.images} images in {result.classes} classes "
        f"({loaded.checkpoint}, {time.perf_counter() - began:.0f} s)."
    )
    return 0
