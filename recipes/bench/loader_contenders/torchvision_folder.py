"""Image folders, worker processes and torchvision's transforms."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import torch

from fastneg.data.load.augmentation import IMAGENET_MEAN, IMAGENET_STD
from fastneg.recipes.bench.loader_contenders.common import wait

PATCH_SIZES = (16, 72)
"""Sides in pixels of the patches of a patch negative, the larger one excluded."""


def torchvision_pil(data):
    """What most people run: PIL images, two torchvision transforms in worker processes."""
    return _image_folder(data, _Views(_pil_view(data.view_size)))


def published_patch(data):
    """The published way to the patch negative: the same, and a Python loop that tiles the query
    view, patch by patch, in the worker."""
    return _image_folder(data, _Views(_pil_view(data.view_size), loop_of_patches))


def torchvision_v2(data):
    """torchvision's transforms v2 on uint8 tensors, which its own JPEG decoder makes."""
    from torchvision.io import decode_jpeg, read_file
    from torchvision.transforms import v2

    view = v2.Compose(
        [
            v2.RandomResizedCrop(data.view_size, (0.2, 1.0), antialias=True),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
            v2.RandomGrayscale(0.2),
            v2.RandomApply([v2.GaussianBlur(13, (0.1, 2.0))], 0.5),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    return _image_folder(data, _Views(view), loader=lambda path: decode_jpeg(read_file(path)))


def lightly(data):
    """lightly's MoCoV2Transform, with its own colour changes and blur, in worker processes."""
    from lightly.transforms import MoCoV2Transform

    return _image_folder(data, MoCoV2Transform(input_size=data.view_size))


def solo_learn(data):
    """solo-learn's transform for ImageNet with MoCo v2's numbers, in worker processes.

    Of version 1.0.2, the last one on PyPI, the one module with the transforms: the package itself
    asks for torch 1.9.
    """
    place = Path(importlib.util.find_spec("solo").origin).parent / "utils/pretrain_dataloader.py"
    spec = importlib.util.spec_from_file_location("solo_learn_transforms", place)
    module = importlib.util.module_from_spec(spec)
    # under its name, for the worker processes
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    view = module.ImagenetTransform(
        0.4, 0.4, 0.4, 0.1, min_scale=0.2, crop_size=data.view_size
    )  # fmt: skip
    return _image_folder(data, module.NCropAugmentation(view, 2))


def _image_folder(data, transform, **options):
    from torchvision.datasets import ImageFolder

    images = ImageFolder(data.folder, transform, **options)
    loader = torch.utils.data.DataLoader(
        images, data.batch_size, shuffle=True, num_workers=data.threads, drop_last=True
    )

    def epoch(number):
        count = 0
        for views, _ in loader:
            views = [view.to(data.device, non_blocking=True) for view in views]
            count += len(views[0])
        wait(data.device)
        return count

    return epoch


def _pil_view(size):
    from torchvision import transforms as T

    return T.Compose(
        [
            T.RandomResizedCrop(size, (0.2, 1.0)),
            T.RandomApply([T.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
            T.RandomGrayscale(0.2),
            T.RandomApply([_PilBlur()], 0.5),
            T.RandomHorizontalFlip(),
            T.ToTensor(),
            T.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )


class _PilBlur:
    """MoCo's Gaussian blur."""

    def __call__(self, image):
        from PIL import ImageFilter

        return image.filter(ImageFilter.GaussianBlur(np.random.uniform(0.1, 2.0)))


class _Views:
    def __init__(self, view, negative=None):
        self.view, self.negative = view, negative

    def __call__(self, image):
        query, key = self.view(image), self.view(image)
        return (query, key) if self.negative is None else (query, key, self.negative(query))


def loop_of_patches(view):
    """(C, S, S) → (C, S, S): a grid of patches cut at random places, one at a time, as the
    published code does it."""
    size = view.shape[1]
    side = int(np.random.randint(*PATCH_SIZES))
    grid = size // side + 1
    tiled = torch.empty(view.shape[0], grid * side, grid * side)
    for row in range(grid):
        for column in range(grid):
            top, left = np.random.randint(0, size - side, 2)
            patch = view[:, top : top + side, left : left + side]
            tiled[:, row * side : (row + 1) * side, column * side : (column + 1) * side] = patch
    return tiled[:, :size, :size].contiguous()
