"""fastneg bench patch_shuffle: the kernel against a plain copy and a loop over slices.

Legend: N batch, M copies per image, H pixels a side.
"""

from __future__ import annotations

import torch

from fastneg.kernels.patch_shuffle import patch_shuffle
from fastneg.negatives.patch_torch import draw_patches
from fastneg.recipes.bench.measuring import bench_device, dtype_name, rows_beside_copy

PATCH_SHAPES = {"cpu": ((32, 2, 64), (32, 2, 224)), "cuda": ((256, 1, 224), (512, 4, 224))}


def bench_patch_shuffle(shapes=None, rounds=7, only=None):
    """Yield a row per shape and contender for channels_last images (N, 3, H, H) and M copies with
    patches of H/14 to H/3 pixels.

    share_of_floor compares with a plain copy that writes as many bytes: the images read once a
    copy, at this run's rate.

    Args:
        shapes: of (N, M, H); None: those of this device.
        rounds: calls measured of each contender.
        only: names of contenders, beside copy; None: all.
    """
    device = bench_device()
    for rows, copies, size in shapes or PATCH_SHAPES[device]:
        images = torch.randn(rows, 3, size, size, device=device).to(
            memory_format=torch.channels_last
        )
        if device == "cuda":
            images = images.bfloat16()
        offsets, sides = draw_patches(images.shape, copies, (size // 14, size // 3), images.device)
        out = patch_shuffle(images, offsets, sides)
        runners = {
            "fastneg": lambda images=images, offsets=offsets, sides=sides, out=out: patch_shuffle(
                images, offsets, sides, out=out
            ),
            "copy": lambda images=images, out=out: out.copy_(images[:, None].expand_as(out)),
        }
        where = offsets.tolist(), sides.tolist()
        runners["slices"] = lambda images=images, where=where, out=out: _slices(images, *where, out)
        common = {"bench": "patch_shuffle", "device": device, "N": rows, "M": copies, "H": size}
        common["dtype"] = dtype_name(device)
        yield from rows_beside_copy(runners, rounds, device, rows * copies, common, only)


def _slices(images, offsets, sides, out):
    """One slice assignment per patch, as a loop in Python does it."""
    height, width = images.shape[2:]
    for n, copies in enumerate(sides):
        for m, p in enumerate(copies):
            for top in range(0, height, p):
                for left in range(0, width, p):
                    y, x = offsets[n][m][top // p][left // p]
                    rows, columns = min(p, height - top), min(p, width - left)
                    out[n, m, :, top : top + rows, left : left + columns] = images[
                        n, :, y : y + rows, x : x + columns
                    ]
