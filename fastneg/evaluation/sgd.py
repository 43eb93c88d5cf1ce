"""The loop that probes and fine-tuning share: SGD on the cross-entropy of a classifier.

Legend: N images of a batch, C classes.
"""

from __future__ import annotations

import sys
import time

import torch
import torch.nn.functional as F
from tqdm import tqdm

from fastneg.config import UnfitError
from fastneg.progress import time_left


def train_sgd(logits_of, groups, batches, epochs, *, schedule, what, weight_decay=0.0, report=None):
    """Train with SGD, momentum 0.9. The weights after the last epoch stand: nothing is selected.

    Args:
        logits_of: a batch's inputs → (N, C) logits.
        groups: parameter groups as torch.optim takes them, each with its lr at the start.
        batches: epoch → iterable of (inputs, labels (N,) int64).
        schedule: (epoch, steps so far) → what the learning rates are multiplied by in the next
            step.
        what: is trained, in words.
        report: called with a line for each epoch where no progress bar shows.
    Raises:
        ConfigError: the mean loss of an epoch is NaN or infinite.
    """
    optimizer, step = torch.optim.SGD(groups, momentum=0.9, weight_decay=weight_decay), 0
    starts = [group["lr"] for group in optimizer.param_groups]
    began = time.perf_counter()
    bar = tqdm(range(epochs), desc=what, unit="epoch", disable=None, leave=False)
    for epoch in bar:
        total, images = 0.0, 0
        for inputs, labels in batches(epoch):
            for group, start in zip(optimizer.param_groups, starts, strict=True):
                group["lr"] = start * schedule(epoch, step)
            loss = F.cross_entropy(logits_of(inputs).float(), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(labels)
            images += len(labels)
            step += 1
        mean = (total / images).item()
        if not mean < float("inf"):
            raise UnfitError(
                f"The loss of the {what} is {mean} in epoch {epoch + 1}: lower --lr, which is "
                f"{starts[0]:g}."
            )
        bar.set_postfix_str(f"loss {mean:.3f}")
        if report is not None and not sys.stderr.isatty():
            rest = (time.perf_counter() - began) / (epoch + 1) * (epochs - epoch - 1)
            left = f" · {time_left(rest)} left" if epoch + 1 < epochs else ""
            report(
                f"epoch {epoch + 1}/{epochs} · loss {mean:.3f} · lr "
                f"{optimizer.param_groups[0]['lr']:.3g}{left}"
            )
