"""Texture-based non-semantic negatives: a texture quilted from patches of the image, which keeps
its local statistics and loses its shape.

Legend: N images, M textures per image, S source patches of an image, C channels, P side of a source
patch, H W pixels, B blocks of a texture, K candidates for each block.
Source: Ge et al. 2021, arXiv:2110.14189, section 3.1; the synthesis is Efros and Freeman's image
quilting (SIGGRAPH 2001).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from fastneg.kernels.augment import augment
from fastneg.kernels.texture import block_grid, quilt
from fastneg.negatives.texture import texture_sizes


def generate(batch, config, generator):
    """Textures by --texture_source, as `fastneg.negatives.Negative` says."""
    if config.texture_source == "file":
        return batch.texture[:, None]
    size = tuple(batch.query.shape[-2:])
    options = texture_sizes(config, min(size))
    patch, options["generator"] = options.pop("patch"), generator
    count = config.negatives_per_query
    if config.texture_source == "view":
        sources = view_sources(batch.query, patch, generator)
        return texture_negatives(sources, count, size, **options)
    textures = texture_negatives(batch.texture_sources.patches, count, size, **options)
    return texture_views(textures, batch.texture_sources, batch.query.dtype)


def draw_corners(
    count,
    size,
    *,
    sources=2,
    patch=96,
    block=32,
    overlap=8,
    candidates=128,
    device="cpu",
    generator=None,
):
    """Draw the candidates of every block: independent uniform places, in any source patch.

    Args:
        count: (N, M), images and textures of each.
        size: (H, W) of the textures in pixels.
        sources, patch: S and P.
        candidates: K.
        generator: torch.Generator on the device, or None for the default one.
    Returns:
        (N, M, B, K) int32 as `quilt` takes them.
    """
    rows, columns = block_grid(size, block, overlap)
    room = patch - block + 1
    if room < 1:
        raise ValueError(
            f"block is {block}: at most {patch}, the side of the source patches, was expected."
        )
    if candidates < 1:
        raise ValueError(f"candidates is {candidates}: at least one for each block was expected.")
    shape = (*count, rows * columns, candidates)
    place = torch.randint(
        0, sources * room * room, shape, dtype=torch.int32, device=device, generator=generator
    )
    row = place // room  # counts on from one source patch to the next
    return (row + row // room * (patch - room)).mul_(patch).add_(place % room)


def view_sources(views, patch=96, generator=None):
    """Two source patches of each view, one from the centre and one from a uniform position: (N, C,
    H, W) → (N, 2, C, P, P).

    Raises:
        ValueError: a patch does not fit the views.
    """
    n, _, height, width = views.shape
    if not 1 <= patch <= min(height, width):
        raise ValueError(
            f"patch is {patch} for views of {height}×{width}: 1 to {min(height, width)} was "
            "expected."
        )
    place = torch.rand((2, n), device=views.device, generator=generator)
    line = torch.arange(patch, device=views.device)
    lines = []
    for side, uniform in zip((height, width), place, strict=True):
        room = side - patch
        # The last place is included; rounding in float32 must not reach the one after it.
        random = (uniform * (room + 1)).long().clamp_max(room)
        lines.append(
            torch.stack([torch.full_like(random, room // 2), random], 1)[:, :, None] + line
        )
    y, x = lines
    image = torch.arange(n, device=views.device)[:, None, None, None]
    return views.permute(0, 2, 3, 1)[image, y[:, :, :, None], x[:, :, None, :]].permute(
        0, 1, 4, 2, 3
    )


def texture_views(textures, like, dtype):
    """Textures cropped and changed as the query views of their images were.

    The crop takes the query's window, in shares of height and width, and enlarges it to the
    texture's size (bilinear).

    Args:
        textures: (N, M, 3, H, W) uint8.
        like: `TextureSources`.
        dtype: of the result.
    Returns:
        (N, M, 3, H, W) normalised, out.flatten(0, 1) is channels_last.
    """
    n, count = textures.shape[:2]
    rows = torch.arange(n, device=textures.device).repeat_interleave(count)
    top, left, bottom, right = like.window[rows].unbind(1)
    zero = torch.zeros_like(top)
    # The window in coordinates that go from -1 to 1 over the texture.
    across, down = (
        torch.stack([right - left, zero, left + right - 1], 1),
        torch.stack([zero, bottom - top, top + bottom - 1], 1),
    )
    flat = textures.flatten(0, 1)
    grid = F.affine_grid(torch.stack([across, down], 1), list(flat.shape), align_corners=False)
    cropped = F.grid_sample(
        flat.float().div_(255), grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    views = augment(
        cropped,
        like.params.rows(rows),
        mean=like.mean,
        std=like.std,
        dtype=dtype,
        max_sigma=like.max_sigma,
    )
    return views.unflatten(0, (n, count))


def texture_negatives(
    sources,
    count=1,
    size=(224, 224),
    *,
    block=32,
    overlap=8,
    candidates=128,
    seam=True,
    generator=None,
):
    """Textures made from source patches of each image.

    The same generator state gives the same textures on one device. Devices draw different
    candidates, but make the same texture of the same candidates.

    Args:
        sources: (N, S, C, P, P), uint8 or floating point.
        count: M, textures per image.
        size: (H, W) of the textures in pixels.
        block, overlap, seam: as in `quilt`.
        candidates: K, random candidates for each block.
        generator: torch.Generator on the device of the sources, or None for the default one.
    Returns:
        (N, M, C, H, W), out.flatten(0, 1) is channels_last.
    Raises:
        ValueError: an invalid shape, or options that do not fit it.
    """
    if sources.ndim != 5:
        raise ValueError(f"sources has shape {tuple(sources.shape)}: (N, S, C, P, P) was expected.")
    if count < 1:
        raise ValueError(f"count is {count}: at least one texture per image was expected.")
    n, number, patch = sources.shape[0], sources.shape[1], sources.shape[3]
    grid = {"block": block, "overlap": overlap}
    corners = draw_corners(
        (n, count),
        size,
        sources=number,
        patch=patch,
        candidates=candidates,
        device=sources.device,
        generator=generator,
        **grid,
    )
    return quilt(sources, corners, size, seam=seam, **grid)
