"""The negatives of a batch, of every kind that a config names: in a step of training, or from a
loader with the same seed."""

from __future__ import annotations

import numpy as np
import torch

from fastneg.config import PretrainConfig
from fastneg.errors import SettingsError
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
    Raises:
        SettingsError: a kind, one of a user's own, gives anything else than its (N, M, C, H, W).
    """
    made = [
        _fitting(kind, NEGATIVES[kind](batch, config, generator), batch, config)
        for kind in config.image_kinds()
    ]
    if len(made) < 2:
        return made[0] if made else None
    count, n = sum(images.shape[1] for images in made), len(batch.query)
    first = made[0].flatten(0, 1)
    nhwc = first.is_contiguous(memory_format=torch.channels_last)
    out = first.new_empty((n * count, *first.shape[1:])).contiguous(
        memory_format=torch.channels_last if nhwc else torch.contiguous_format
    )
    return torch.cat(made, 1, out=out.unflatten(0, (n, count)))


def _fitting(kind, images, batch, config):
    """What a kind made, if it is of the right shape: with fewer negatives, or more, a step would
    go on and weight them otherwise."""
    views = batch.query
    expected = (len(views), config.negatives_per_query, *views.shape[1:])
    came = tuple(images.shape) if isinstance(images, torch.Tensor) else type(images).__name__
    if came != expected:
        raise SettingsError(
            f"--negatives {kind} gives {came} for views {tuple(views.shape)}: {expected}, "
            "(N, M, C, H, W) with M of --negatives_per_query, was expected."
        )
    return images


def negatives_config(negatives, image_size, batch_size, options):
    """(`PretrainConfig` that says how negatives are made, or None; the options that are others).

    Args:
        negatives: as of --negatives, None for none; or a `PretrainConfig`, which is returned as it
            is.
        image_size: side of the views in pixels.
        batch_size: images a step over all processes.
        options: {name: value}, of which those of the kinds, and negatives_per_query, are taken.
    Raises:
        ConfigError: an option that cannot be. ValueError: one that has no effect.
    """
    taken = {"negatives_per_query", *NEGATIVES.options()}
    own = {name: value for name, value in options.items() if name in taken}
    others = {name: value for name, value in options.items() if name not in taken}
    if isinstance(negatives, PretrainConfig):
        config, idle = negatives, own
    elif negatives is None:
        config, idle = None, own
    else:
        config = PretrainConfig(
            negatives=negatives, image_size=image_size, batch_size=batch_size, **own
        )
        idle = own.keys() & config.without_effect()
        if len(config.image_kinds()) < len(config.negative_kinds()):
            raise ValueError(f"negatives is {negatives!r}: not all of them are images.")
    if idle:
        raise ValueError(
            f"{', '.join(sorted(idle))} has no effect with negatives {negatives!r}: leave it out."
        )
    return config, others


class BatchNegatives:
    """Makes the negatives of each batch from (seed, epoch, iteration, rank), as a run does.

    Args:
        config: `PretrainConfig`; None makes none.
        seed: of the loader.
        order: its `EpochOrder`.
    """

    def __init__(self, config, seed, order):
        self._config, self._seed, self._order = config, seed, order

    def generator(self, epoch, iteration, device):
        """The torch.Generator on a device from which the negatives of a batch are drawn."""
        step = epoch * self._order.iterations + iteration
        seed = step_seed(self._seed, step, self._order.rank)
        return torch.Generator(device).manual_seed(seed)

    def __call__(self, batch, epoch, iteration):
        """(N, kinds·M, 3, H, W) of a `ViewBatch`, or None."""
        if self._config is None:
            return None
        generator = self.generator(epoch, iteration, batch.query.device)
        return make_negatives(batch, self._config, generator)
