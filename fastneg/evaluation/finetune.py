"""Fine-tuning: the backbone and a linear classifier trained together on augmented crops, for a few epochs.

Legend: N images, F backbone features, C classes.
"""

from __future__ import annotations

import copy
import math
import sys

import torch
import torch.nn.functional as F

from fastneg.config import ConfigError
from fastneg.data.loaders import CropLoader, EvalLoader
from fastneg.evaluation.features import BATCH, extract_features, uses_autocast
from fastneg.evaluation.linear import LinearClassifier


def fine_tune(
    loaded, reader, labels, count, *, epochs, lr, head_lr, batch_size, weight_decay, seed=0, device="cpu", threads=0, report=print
):
    """SGD with momentum 0.9 on random crops and flips, cosine decay each step; batch statistics are those of training.

    The loaded backbone is not touched: a copy is trained.

    Args:
        loaded: `LoadedRun` on `device`.
        reader: `BetonReader` of the training set.
        labels: (images of the file,) int64 in 0 … count - 1.
        lr, head_lr: learning rates of the backbone and of the classifier at the start.
    Returns:
        (backbone, LinearClassifier) after the last epoch, in eval mode on `device`.
    Raises:
        ConfigError: the loss became NaN or infinite.
    """
    device, config = torch.device(device), loaded.config
    torch.manual_seed(seed)  # for dropout and the like; order and crops have numbers of their own
    backbone = copy.deepcopy(loaded.backbone).requires_grad_(True).train()
    head = LinearClassifier(loaded.feature_dim, count).to(device)
    groups = [{"params": backbone.parameters(), "lr": lr}, {"params": head.parameters(), "lr": head_lr}]
    optimizer = torch.optim.SGD(groups, momentum=0.9, weight_decay=weight_decay)
    options = {"device": device, "seed": seed, "threads": threads, "max_bad_share": config.max_bad_share}
    loader = CropLoader(reader, batch_size, config.image_size, **options)
    decay = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / (epochs * len(loader)))))
    autocast = uses_autocast(config, device)
    try:
        for epoch in range(epochs):
            total, images = torch.zeros((), device=device), 0
            for batch in loader.epoch(epoch):
                pixels, true = batch.images.to(device), labels[batch.index].to(device)
                with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
                    logits = head(backbone(pixels if autocast else pixels.float()))
                loss = F.cross_entropy(logits.float(), true)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                decay.step()
                total, images = total + loss.detach() * len(true), images + len(true)
            mean = (total / images).item()
            if not mean < float("inf"):
                raise ConfigError(f"The loss is {mean} in epoch {epoch + 1} of fine-tuning: lower --lr, which is {lr}.")
            if not sys.stderr.isatty() or epoch + 1 == epochs:
                report(f"epoch {epoch + 1}/{epochs} · loss {mean:.3f}")
    finally:
        loader.close()
    return backbone.eval().requires_grad_(False), head.eval().requires_grad_(False)


def fine_tuned_logits(backbone, head, loaded, reader, *, device="cpu", threads=0):
    """(N, C) float32 on the CPU: the logits of a file's central crops."""
    config = loaded.config
    loader = EvalLoader(reader, BATCH, config.image_size, resize=config.eval_resize, device=device, threads=threads)
    try:
        found = extract_features(backbone, loader, device, uses_autocast(config, device))
    finally:
        loader.close()
    return head.logits(found.features, device)
