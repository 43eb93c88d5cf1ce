"""Between values in 0 … 1 and the 256 levels of 8-bit pixels."""

from __future__ import annotations

import torch


def cut_to_8bit(images):
    """The values k / 255 at or below those of images, which are limited to 0 … 1.

    This is numpy.uint8 of 255 times the image.
    """
    # Whole numbers, as an image has them where it was left alone, stay so although float32 may put
    # them a little lower.
    return images.clamp(0, 1).mul_(255).add_(2**-10).floor_().div_(255)


def to_8bit(images):
    """Values 0 … 255 of images in 0 … 1, whole numbers as floats."""
    return torch.floor(images.clamp(0, 1) * 255 + 0.5)
