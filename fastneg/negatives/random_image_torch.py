"""Control: the view of another image as the extra negative.

It tells an extra negative from a non-semantic one.

Legend: N images, M negatives per image.
"""

from __future__ import annotations

import torch


def generate(batch, config, generator):
    """Query views of other images, as `fastneg.negatives.Negative` says."""
    return random_image_negatives(batch.query, config.negatives_per_query, generator)


def captions(batch, config, generator):
    """The position of each other image in the data set, as `fastneg.negatives.Negative` says."""
    places = draw_places(batch.query, config.negatives_per_query, generator).cpu()
    return [[f"image {index}" for index in row] for row in batch.index[places].tolist()]


def draw_places(images, count, generator=None):
    """(N, M) int64: which image of the batch each negative is."""
    n = len(images)
    shifts = torch.randint(1, n, (count,), device=images.device, generator=generator)
    return (torch.arange(n, device=images.device)[:, None] + shifts) % n


def random_image_negatives(images, count=1, generator=None):
    """For each image the images that stand `shift` places further in the batch, with a shift drawn
    for each of M negatives.

    So every image serves once for each negative, and none is its own.

    Args:
        images: (N, C, H, W), N ≥ 2.
        count: M.
        generator: torch.Generator on the device of the images, or None for the default one.
    Returns:
        (N, M, C, H, W).
    Raises:
        ValueError: a single image has no other.
    """
    n = len(images)
    if n < 2:
        raise ValueError(
            f"images has {n} image: at least 2 were expected, for each to have another."
        )
    if count < 1:
        raise ValueError(f"count is {count}: at least one negative per image was expected.")
    others = draw_places(images, count, generator)
    return images[others.flatten()].unflatten(0, (n, count))
