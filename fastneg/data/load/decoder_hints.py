"""Hints about a data set's images for a GPU's JPEG decoder."""

from __future__ import annotations

import numpy as np

PREALLOCATED = 1 << 30
"""Bytes at most that a GPU's JPEG engines are told to take beforehand."""


def decoder_hint(sizes, batch_size):
    """(height, width) of the images for which a GPU's JPEG engines take memory beforehand: of a
    hundred images, 99 are no higher, and 99 no wider. None where a batch of such images takes more
    than `PREALLOCATED`: a few huge ones would have memory for all.

    Args:
        sizes: (samples, 2) height and width.
        batch_size: the largest number of images in a batch.
    """
    height, width = (int(side) for side in np.quantile(sizes, 0.99, axis=0, method="higher"))
    return (height, width) if 3 * height * width * batch_size <= PREALLOCATED else None


def decoder_hints(reader, fields, batch_size):
    """The `decoder_hint` of each image field of a data set."""
    return [decoder_hint(reader.sizes_of(field), batch_size) for field in fields]


def decoder_options(hw_decoder_load, hints):
    """The options of the decoder of each image field."""
    load = {} if hw_decoder_load is None else {"hw_decoder_load": hw_decoder_load}
    sides = "preallocate_height_hint", "preallocate_width_hint"
    return [load | dict(zip(sides, hint or (), strict=False)) for hint in hints]
