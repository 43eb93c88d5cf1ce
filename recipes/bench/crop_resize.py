"""fastneg bench crop_resize: views cut out of images that lie on the device, beside torchvision's
and kornia's, with the same images and windows.

Legend: N images, a view of each, H pixels a side of an image, S of a view.
"""

from __future__ import annotations

import importlib.util
from functools import partial

import numpy as np
import torch

from fastneg.data.load.augmentation import draw_crops
from fastneg.kernels.crop_resize import crop_resize
from fastneg.recipes.bench.measuring import bench_device, rows_beside_copy

SHAPES = {"cpu": ((64, 64, 32), (64, 256, 224)), "cuda": ((256, 256, 224), (1024, 64, 64))}
"""(N, H, S)"""


def bench_crop_resize(shapes=None, rounds=7, only=None):
    """Yield a row for each shape and contender.

    A contender takes uint8 channels_last images (N, 3, H, H) and a window of each, MoCo's random
    crops, and gives uint8 views (N, 3, S, S). torchvision's crops begin and end at whole pixels;
    kornia's (where it is installed) has no filter against aliasing. share_of_floor compares the
    time with that of a copy of as many pixels as the views have.

    Args:
        shapes: of (N, H, S); None: those of this device.
        rounds: calls measured of each contender.
        only: names of contenders, beside copy; None: all.
    """
    device = bench_device()
    for count, height, size in shapes or SHAPES[device]:
        images, windows = drawn(count, height, device)
        index = torch.arange(count, device=device)
        out = torch.empty(count, 3, size, size, dtype=torch.uint8, device=device)
        out = out.contiguous(memory_format=torch.channels_last)
        runners = {
            "fastneg": partial(crop_resize, images, index, windows, size),
            "torch": partial(crop_resize, images, index, windows, size, backend="torch"),
            "torchvision": partial(torchvision_views, images, windows.tolist(), size),
            "copy": partial(torch.empty_like(out).copy_, out),
        }
        if importlib.util.find_spec("kornia") is not None:
            runners["kornia"] = partial(kornia_views, images, windows, size)
        common = {"bench": "crop_resize", "device": device, "N": count, "H": height, "S": size}
        yield from rows_beside_copy(runners, rounds, device, count, common, only)


def drawn(count, height, device):
    """(images (N, 3, H, H) uint8 in channels_last, windows (N, 4) as `crop_resize` takes them)"""
    g = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, height, height), generator=g, dtype=torch.uint8)
    sizes = np.full((count, 2), height)
    start, end = draw_crops(sizes, (0.2, 1.0), (3 / 4, 4 / 3), np.random.default_rng(0))
    windows = torch.from_numpy(np.concatenate([start, end], 1)).float()
    return images.to(device, memory_format=torch.channels_last), windows.to(device)


def torchvision_views(images, windows, size):
    """Image by image on the device, by the function that RandomResizedCrop calls."""
    import torchvision.transforms.v2.functional as TF

    views = []
    for image, (top, left, bottom, right) in zip(images, windows, strict=True):
        first, sides = (int(top), int(left)), (round(bottom - top), round(right - left))
        sides = [max(1, side) for side in sides]
        views.append(TF.resized_crop(image, *first, *sides, [size, size], antialias=True))
    return torch.stack(views)


def kornia_views(images, windows, size):
    """All at once: each view a warp of its image, with linear interpolation alone."""
    from kornia.geometry.transform import crop_and_resize

    top, left, bottom, right = (windows[:, i] for i in range(4))
    right, bottom = right - 1, bottom - 1  # of the last pixel, not of its edge
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    boxes = torch.stack([torch.stack(corner, 1) for corner in corners], 1)
    return crop_and_resize(images.float(), boxes, (size, size)).round_().to(torch.uint8)
