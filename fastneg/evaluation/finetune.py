"""Fine-tuning: the backbone and a linear classifier, trained together on augmented crops.

Legend: N images, F backbone features, C classes.
"""

from __future__ import annotations

import contextlib
import math
from functools import partial

import torch

from fastneg.config import ConfigError
from fastneg.counts import counted
from fastneg.data.load.labelled_loaders import CropLoader
from fastneg.evaluation.linear import LinearClassifier
from fastneg.evaluation.sgd import train_sgd
from fastneg.kernels.host_copy import to_device
from fastneg.runs.embed import central_crops, extract_features, uses_autocast


def fine_tune(
    loaded,
    reader,
    labels,
    count,
    *,
    epochs,
    lr,
    head_lr,
    batch_size,
    weight_decay,
    samples=None,
    seed=0,
    device="cpu",
    threads=0,
    report=print,
):
    """Train with SGD, momentum 0.9, on random crops and flips, with a cosine decay at each step.

    Batch statistics are those of training. A last batch of a single image has none and is passed
    over; another epoch has another one. The loaded backbone is not touched: a copy is trained.

    Args:
        loaded: `LoadedRun` on `device`.
        reader: `BetonReader` of the training set.
        labels: (images of the file,) int64 in 0 … count - 1.
        lr, head_lr: learning rates of the backbone and of the classifier at the start.
        samples: (n,) positions in the file to train on; None: all.
    Returns:
        (backbone, LinearClassifier) after the last epoch, in eval mode on `device`.
    Raises:
        ConfigError: the loss became NaN or infinite, or there are no two images in a batch.
    """
    device, config = torch.device(device), loaded.config
    _refuse_single(batch_size, reader, samples)
    torch.manual_seed(seed)  # for dropout and the like; order and crops have numbers of their own
    backbone = loaded.backbone_copy().requires_grad_(True).train()
    head = LinearClassifier(loaded.feature_dim, count).to(device)
    rates = ((backbone, lr), (head, head_lr))
    options = {"device": device, "seed": seed, "threads": threads, **config.evaluation_options()}
    loader = CropLoader(reader, batch_size, config.image_size, samples=samples, **options)
    autocast = uses_autocast(config, device)

    def logits_of(images):
        with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
            return head(backbone(images if autocast else images.float()))

    with contextlib.closing(loader):
        train_sgd(
            logits_of,
            [{"params": each.parameters(), "lr": rate} for each, rate in rates],
            partial(_batches, loader, labels, device),
            epochs,
            schedule=partial(_cosine, epochs * len(loader)),
            what="fine-tuning",
            weight_decay=weight_decay,
            report=report,
        )
    return backbone.eval().requires_grad_(False), head.eval().requires_grad_(False)


def _refuse_single(batch_size, reader, samples):
    if min(batch_size, len(reader) if samples is None else len(samples)) < 2:
        raise ConfigError(
            f"--batch_size is {batch_size}, of {counted(len(reader), 'image')}: fine-tuning takes "
            "statistics over two or more."
        )


def _batches(loader, labels, device, epoch):
    """(images, labels) of an epoch's batches of two images or more."""
    for batch in loader.epoch(epoch):
        if len(batch.index) > 1:
            yield to_device(batch.images, device), to_device(labels[batch.index], device)


def _cosine(steps, _, step):
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def fine_tuned_logits(backbone, head, loaded, reader, *, device="cpu", threads=0):
    """The answers to a file's central crops.

    (logits (N, C) float32 on the CPU, positions (N,), how many images could not be used).
    """
    config = loaded.config
    with contextlib.closing(
        central_crops(reader, config, device=device, threads=threads)
    ) as loader:
        found = extract_features(backbone, loader, device, uses_autocast(config, device))
    return head.logits(found.features, device), found.index, len(found.skipped)
