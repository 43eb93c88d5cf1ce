"""The patch shuffle in plain torch, on any device: whole pixels are gathered, a block of images at
a time.

Shapes: N batch, M copies per image, C channels, H W pixels, G entries per side of the offset grid.
"""

import torch

# Pixels gathered at a time on a CPU: their indices and colours stay in cache.
CPU_BLOCK_PIXELS = 1 << 17


def patch_shuffle(images, offsets, patch_sizes, out):
    """Fills out (N, M, C, H, W), any strides, from images (N, C, H, W), offsets (N, M, G, G, 2) and
    patch_sizes (N, M)."""
    rows, channels, height, width = images.shape
    area = height * width
    block = rows if images.is_cuda else max(1, CPU_BLOCK_PIXELS // area)
    for start in range(0, rows, block):
        some = slice(start, start + block)
        source = images[some].permute(0, 2, 3, 1).reshape(-1, channels)
        first = torch.arange(0, source.shape[0], area, device=images.device)[:, None]
        for copy in range(offsets.shape[1]):
            pixels = _source_pixels(
                offsets[some, copy], patch_sizes[some, copy], height, width
            ).add_(first)
            picked = source.index_select(0, pixels.flatten())
            out[some, copy].copy_(picked.view(-1, height, width, channels).permute(0, 3, 1, 2))


def _source_pixels(offsets, patch_sizes, height, width):
    """(N, H·W) int64: for each pixel of the result, y·W + x of the pixel that it shows."""
    grid, device = offsets.shape[1], offsets.device
    sides = patch_sizes.long()[:, None]
    # On a GPU nothing checks them: whatever they are, no pixel outside the image is read.
    sides = sides.clamp_min(1)
    y, x = torch.arange(height, device=device), torch.arange(width, device=device)
    tile_y, tile_x = (y // sides).clamp_max(grid - 1), (x // sides).clamp_max(grid - 1)
    shown_y, shown_x = pixels_shown(sides, grid, height), pixels_shown(sides, grid, width)
    top = offsets[..., 0].minimum(height - shown_y[:, :, None]).clamp_min(0).long()
    left = offsets[..., 1].minimum(width - shown_x[:, None, :]).clamp_min(0).long()
    corners = top * width + left
    by_row = corners.gather(1, tile_y[:, :, None].expand(-1, -1, grid))
    pixels = by_row.gather(2, tile_x[:, None, :].expand(-1, height, -1))
    return pixels.add_((y % sides * width)[:, :, None]).add_((x % sides)[:, None, :]).flatten(1)


def pixels_shown(sides, grid, size):
    """(N, G): how many pixels of each tile of a row or column lie in the image."""
    start = torch.arange(grid, device=sides.device) * sides
    return (size - start).minimum(sides).clamp_min(1)
