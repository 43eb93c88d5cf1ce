"""Patch-based non-semantic negatives: tiles of an image's own patches, which keep its local look
and lose its shape.

Legend: N batch, M negatives per image, C channels, H W pixels, G grid cells a side.
Source: Ge et al. 2021, arXiv:2110.14189, section 3.2.
"""

from __future__ import annotations

import torch

from fastneg.kernels.checks import check_are_tensors, check_few, check_whole
from fastneg.kernels.patch_shuffle import patch_shuffle


def generate(batch, config, generator):
    """Patch negatives of the query views, as `fastneg.negatives.Negative` says."""
    sizes = (config.patch_min, config.patch_max)
    return patch_negatives(batch.query, config.negatives_per_query, sizes, generator)


def captions(batch, config, generator):
    """The side of the patches of each negative, as `fastneg.negatives.Negative` says."""
    shape, device = batch.query.shape, batch.query.device
    sizes = (config.patch_min, config.patch_max)
    _, drawn = draw_patches(shape, config.negatives_per_query, sizes, device, generator)
    return [[f"patches of {side} px" for side in row] for row in drawn.tolist()]


def patch_negatives(
    images: torch.Tensor,
    count: int = 1,
    sizes: tuple[int, int] = (16, 72),
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Tile each image with patches of itself, cut at independent uniform positions, with
    replacement.

    Args:
        images: (N, C, H, W), any dtype and either memory format.
        count: M, negatives per image.
        sizes: smallest and largest patch side in pixels; each negative draws its own, uniformly.
        generator: torch.Generator on the device of the images, or None for the default one.
    Returns:
        (N, M, C, H, W), each negative in the memory format of the images.
    Raises:
        ValueError: an invalid shape, or sizes that do not fit the images.
    """
    check_are_tensors(images=images)
    if images.ndim != 4:
        raise ValueError(f"images has shape {tuple(images.shape)}: (N, C, H, W) was expected.")
    if count == 0:
        raise ValueError("count is 0: at least one negative per image was expected.")
    check_whole("count", count, 1)
    check_few("sizes", sizes, 2)
    return patch_shuffle(
        images, *draw_patches(images.shape, count, sizes, images.device, generator)
    )


def draw_patches(shape, count, sizes, device, generator=None):
    """Draw the patch side of each negative and a source corner for each grid cell, on the device.

    Returns:
        offsets (N, M, G, G, 2) int32, row and column of each source corner; patch_sizes (N, M)
        int32.
    """
    n, _, height, width = shape
    smallest, largest = sizes
    if not 1 <= smallest <= largest <= min(height, width):
        raise ValueError(
            f"sizes is ({smallest}, {largest}) for images of {height}×{width}: 1 ≤ smallest ≤ "
            "largest ≤ the shorter side was expected."
        )
    patch_sizes = torch.randint(
        smallest, largest + 1, (n, count), device=device, generator=generator, dtype=torch.int32
    )
    grid = -(-max(height, width) // smallest)
    places = torch.rand((n, count, grid, grid, 2), device=device, generator=generator)
    room = torch.stack([height - patch_sizes, width - patch_sizes], -1)[:, :, None, None]
    # The last corner is included; rounding in float32 must not reach the one after it.
    offsets = (places * (room + 1)).int().minimum(room)
    return offsets, patch_sizes
