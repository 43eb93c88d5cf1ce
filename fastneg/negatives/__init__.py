"""Non-semantic negatives: name → generator.

A generator is called with a `ViewBatch`, the config and a torch.Generator on the batch's device,
and returns (N, M, C, H, W) images in the space of the views, M = config.negatives_per_query. To add
one: a file here, a line in NEGATIVES, and its name in NEGATIVE_KINDS of the config.
docs/negatives.md shows how.
"""

from __future__ import annotations

import torch

from fastneg.negatives.blur import blur_negatives
from fastneg.negatives.patch import patch_negatives
from fastneg.negatives.random_image import random_image_negatives
from fastneg.negatives.texture import texture_negatives, texture_views, view_sources


def _texture(batch, config, generator):
    if config.texture_source == "file":
        return batch.texture[:, None]
    size = tuple(batch.query.shape[-2:])
    options = config.texture(min(size))
    patch, options["generator"] = options.pop("patch"), generator
    if config.texture_source == "view":
        return texture_negatives(
            view_sources(batch.query, patch, generator), config.negatives_per_query, size, **options
        )
    textures = texture_negatives(
        batch.texture_sources.patches, config.negatives_per_query, size, **options
    )
    return texture_views(textures, batch.texture_sources, batch.query.dtype)


NEGATIVES = {
    "patch": lambda batch, config, generator: patch_negatives(
        batch.query, config.negatives_per_query, (config.patch_min, config.patch_max), generator
    ),
    "texture": _texture,
    "blur": lambda batch, config, generator: blur_negatives(
        batch.query, config.negatives_per_query, generator=generator
    ),
    "random_image": lambda batch, config, generator: random_image_negatives(
        batch.query, config.negatives_per_query, generator
    ),
}


def make_negatives(batch, config, generator):
    """The negatives of every kind that the config names, one kind after the other:

    (N, kinds·M, C, H, W); None for none.

    The kinds draw from the same generator in turn.
    """
    made = [NEGATIVES[kind](batch, config, generator) for kind in config.negative_kinds()]
    if len(made) < 2:
        return made[0] if made else None
    count, n = sum(images.shape[1] for images in made), len(batch.query)
    first = made[0].flatten(0, 1)
    nhwc = first.is_contiguous(memory_format=torch.channels_last)
    out = first.new_empty((n * count, *first.shape[1:])).contiguous(
        memory_format=torch.channels_last if nhwc else torch.contiguous_format
    )
    return torch.cat(made, 1, out=out.unflatten(0, (n, count)))
