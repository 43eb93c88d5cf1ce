"""Makes the negatives of a batch, of every kind that a config names."""

from __future__ import annotations

import numpy as np
import torch

from fastneg.negatives.contract import NEGATIVES


def step_seed(seed, step, rank, stream=2):
    """The seed of all that a process draws in a step, 63 bits: different streams, steps and
    processes do not overlap. Stream 2 is that of training."""
    words = np.random.SeedSequence([seed, stream, step, rank])
    return int(words.generate_state(1, np.uint64)[0] >> 1)


def make_negatives(batch, config, generator):
    """The negatives of every kind that the config names, one kind after the other, less those that
    are no images but keys of the queue.

    Args:
        batch: `ViewBatch` of N images.
        config: `PretrainConfig`, M = config.negatives_per_query.
        generator: torch.Generator on the batch's device, from which the kinds draw in turn.
    Returns:
        (N, kinds·M, C, H, W); None for none.
    """
    made = [NEGATIVES[kind](batch, config, generator) for kind in config.image_kinds()]
    if len(made) < 2:
        return made[0] if made else None
    count, n = sum(images.shape[1] for images in made), len(batch.query)
    first = made[0].flatten(0, 1)
    nhwc = first.is_contiguous(memory_format=torch.channels_last)
    out = first.new_empty((n * count, *first.shape[1:])).contiguous(
        memory_format=torch.channels_last if nhwc else torch.contiguous_format
    )
    return torch.cat(made, 1, out=out.unflatten(0, (n, count)))
