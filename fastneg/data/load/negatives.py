"""The negatives that a loader adds to its batches: those of a run with the same seed."""

from __future__ import annotations

import torch

from fastneg.config import PretrainConfig
from fastneg.negatives import NEGATIVES
from fastneg.negatives.batch import make_negatives, step_seed


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
