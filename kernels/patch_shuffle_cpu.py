"""The patch shuffle on a CPU as copies of runs of pixels, which numba compiles, the images spread
over torch's number of threads.

The definition is in patch_shuffle.py, the path for all other strides in patch_shuffle_torch.py.
Shapes: N images, M copies of each, P planes of an image (1 in channels_last, C in NCHW), H rows, L
elements of a row.
"""

import torch
from numba import njit

from .cpu_threads import spread

ELEMENTS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""What is copied, by the bytes of an element: one loop is compiled for each width, not for each
dtype."""


def patch_shuffle(images, offsets, patch_sizes, out):
    """Fills out (N, M, C, H, W) from images (N, C, H, W), offsets (N, M, G, G, 2) and patch_sizes
    (N, M), which have been checked; returns whether it could."""
    source, shown = lines_of(images), lines_of(out)
    if source is None or shown is None or source[1] != shown[1]:
        return False
    shuffle(*source, offsets, patch_sizes, shown[0])
    return True


def lines_of(images):
    """The memory of images (…, C, H, W) as (…, P, H, L) integers, and the elements of a pixel in
    it; None where rows have gaps."""
    channels, _, width = images.shape[-3:]
    steps = images.stride()[-3:]
    if images.element_size() not in ELEMENTS:
        return None
    images = images.view(ELEMENTS[images.element_size()])
    if steps == (1, width * channels, channels):
        return images.movedim(-3, -1).flatten(-2).unsqueeze(-3), channels
    return (images, 1) if steps[1:] == (width, 1) else None


def shuffle(source, unit, offsets, patch_sizes, out):
    """Fills out (N, M, P, H, L) from source (N, P, H, L), `unit` elements a pixel; offsets and
    patch_sizes have been checked."""
    source, offsets, patch_sizes, out = (
        tensor.numpy() for tensor in (source, offsets.contiguous(), patch_sizes.contiguous(), out)
    )

    def work(images):
        for n in images:
            _shuffle_one(source[n], unit, offsets[n], patch_sizes[n], out[n])

    spread(work, len(source))


@njit(cache=True, nogil=True)
def _shuffle_one(source, unit, offsets, patch_sizes, out):
    """All copies of one image: source (P, H, L), offsets (M, G, G, 2), patch_sizes (M,) → out (M,
    P, H, L)."""
    planes, height, length = source.shape
    for m in range(len(patch_sizes)):
        side = patch_sizes[m]
        for y in range(height):
            tile = y // side
            for first in range(0, length, side * unit):
                run = min(side * unit, length - first)
                row = offsets[m, tile, first // (side * unit), 0] + y - tile * side
                begin = offsets[m, tile, first // (side * unit), 1] * unit
                for plane in range(planes):
                    out[m, plane, y, first : first + run] = source[plane, row, begin : begin + run]
