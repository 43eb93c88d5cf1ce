"""fastneg finetune."""

from __future__ import annotations

import time

from fastneg.distributed import choose_device
from fastneg.evaluation.accuracy import accuracy
from fastneg.evaluation.finetune import fine_tune, fine_tuned_logits
from fastneg.evaluation.label_splits import few_shot
from fastneg.recipes.labelled import open_labelled, told
from fastneg.runs.load import load_run
from fastneg.runs.results import append_result


def run_finetune(config):
    """Train encoder and classifier, print and append the accuracy of the last epoch.

    Neither is stored.
    """
    began, device = time.perf_counter(), choose_device(config.device)
    loaded, few = load_run(config.run, device), config.share < 100
    settings = {
        name: getattr(config, name)
        for name in ("epochs", "lr", "head_lr", "batch_size", "weight_decay", "seed")
    }
    options = {"device": device, "threads": config.threads}
    with open_labelled(config, loaded.config.cache_dir) as data:
        rows = few_shot(data.labels, config.share, config.seed) if few else None
        backbone, head = fine_tune(
            loaded, data.train, data.labels, data.count, samples=rows, **options, **settings
        )
        logits, index, skipped = fine_tuned_logits(backbone, head, loaded, data.val, **options)
        result = accuracy(logits, data.val_labels[index])
    row = {
        "kind": "few_shot_finetune" if few else "finetune",
        "set": "val",
        "path": str(config.val),
        **result.figures(),
    }
    row |= {"skipped": skipped, **data.fields(), "checkpoint": loaded.checkpoint, **settings}
    row |= {"share": config.share, "train_images": len(rows)} if few else {}
    append_result(config.run, row)
    how = (
        f"{f' on {config.share:g}% of the labels' if few else ''}, epoch {config.epochs} of "
        f"{config.epochs}"
    )
    seconds = time.perf_counter() - began
    print(f"Fine-tuned{how}: {told(result, data.shared)} ({loaded.checkpoint}, {seconds:.0f} s).")
    return 0
