"""The random views as data: which changes a recipe makes, and the numbers drawn for each image.

All randomness of the data path is drawn here, on the host, from (seed, epoch, iteration), for the whole batch over all processes, and
passed on as arrays. So a view does not depend on the device, on the number of processes or on where a run was resumed.
Legend: N images, V views.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from fastneg.kernels.augment import AugmentParams

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Augmentation:
    """One recipe, in torchvision's terms and order: crop, colour jitter, grayscale, blur, flip."""

    brightness: float = 0.0
    """Factor from U(1 - brightness, 1 + brightness)."""
    contrast: float = 0.0
    """Factor likewise. DALI's pivot is mid-gray (128), not the image's mean gray as in torchvision."""
    saturation: float = 0.0
    """Factor likewise."""
    hue: float = 0.0
    """Turn from U(-hue, hue), in whole turns of the colour circle (with DALI a rotation in YIQ, not in HSV as in torchvision)."""
    jitter_p: float = 0.0
    """Probability of the four changes above."""
    gray_p: float = 0.0
    """Probability of losing all colour."""
    blur_p: float = 0.0
    """Probability of a Gaussian blur."""
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    """Its standard deviation in pixels of the view, drawn uniformly."""
    flip_p: float = 0.5
    """Probability of a horizontal flip."""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Aspect ratio of the crop, width over height, drawn log-uniformly."""


AUGMENTATIONS = {
    "crop_flip": Augmentation(),
    # He et al. 2020, arXiv:1911.05722; there grayscale comes before the jitter, here always after it.
    "moco_v1": Augmentation(0.4, 0.4, 0.4, 0.4, jitter_p=1.0, gray_p=0.2),
    "moco_v2": Augmentation(0.4, 0.4, 0.4, 0.1, jitter_p=0.8, gray_p=0.2, blur_p=0.5),
    # Chen et al. 2020, arXiv:2002.05709, appendix A, at strength 1.
    "simclr": Augmentation(0.8, 0.8, 0.8, 0.2, jitter_p=0.8, gray_p=0.2, blur_p=0.5),
    # For small images of things whose colour says nothing, such as stencils: with MoCo v2's mild changes the tint alone would tell two
    # images apart. No blur: at 64 px a blur of sigma 2 hides what one of sigma 7 hides at 224 px.
    "colour_invariant": Augmentation(0.4, 0.4, 0.8, 0.5, jitter_p=1.0, gray_p=0.5),
}


def batch_generator(seed, epoch, iteration):
    """The generator of one batch's views: independent of every other batch's, and found without drawing those before."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 1, epoch, iteration])))


def draw_view(recipe, sizes, crop_area, generator):
    """The random numbers of one view of each image.

    Args:
        recipe: an `Augmentation`.
        sizes: (N, 2) height and width of each image in pixels.
        crop_area: (smallest, largest) share of the image's area.
        generator: numpy Generator.
    Returns:
        dict of arrays: roi_start, roi_end (N, 2) float32 row and column in pixels; gray, blur (N,) bool; brightness, contrast,
        saturation, hue (degrees), sigma (N,) float32; mirror (N,) int32.
    """
    count = len(sizes)
    start, end = draw_crops(sizes, crop_area, recipe.ratio, generator)
    jitter, gray, blur, mirror = (generator.random(count) < p for p in (recipe.jitter_p, recipe.gray_p, recipe.blur_p, recipe.flip_p))
    factors = {
        name: generator.uniform(1 - getattr(recipe, name), 1 + getattr(recipe, name), count)
        for name in ("brightness", "contrast", "saturation")
    }
    view = {name: np.where(jitter, factor, 1.0).astype(np.float32) for name, factor in factors.items()}
    view["hue"] = np.where(jitter, 360.0 * generator.uniform(-recipe.hue, recipe.hue, count), 0.0).astype(np.float32)
    view.update(roi_start=start, roi_end=end, gray=gray, blur=blur, mirror=mirror.astype(np.int32))
    view["sigma"] = generator.uniform(*recipe.blur_sigma, count).astype(np.float32)
    return view


def dali_inputs(view):
    """What DALI's operators are fed for a view: the arrays of `draw_view`, and `twist` (N,) bool, whether any colour changes."""
    # In YIQ hue and saturation leave the luma alone, so grayscale after the jitter is the jitter with saturation 0.
    saturation = np.where(view["gray"], np.float32(0), view["saturation"])
    changes = [view["brightness"] != 1, view["contrast"] != 1, saturation != 1, view["hue"] != 0]
    return {**{name: values for name, values in view.items() if name != "gray"}, "saturation": saturation, "twist": np.any(changes, 0)}


def draw_jitter_order(count, generator):
    """(N, 4) int32: the order of brightness, contrast, saturation and hue in each image, as torchvision's ColorJitter draws it."""
    return generator.permuted(np.tile(np.arange(4, dtype=np.int32), (count, 1)), axis=1)


def augment_params(view, order):
    """The colour half of a view as the kernels take it: `AugmentParams` on the CPU, of the arrays of `draw_view` and an order."""
    factors = np.stack([view["brightness"], view["contrast"], view["saturation"], view["hue"] / np.float32(360)], 1)
    arrays = order, factors, view["gray"], np.where(view["blur"], view["sigma"], np.float32(0)), view["mirror"].astype(bool)
    return AugmentParams(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))


def draw_crops(sizes, area, ratio, generator, attempts=10):
    """Windows of torchvision's RandomResizedCrop: ten tries, then the largest central window whose ratio is within bounds.

    Returns:
        start, end: (N, 2) float32, row and column in pixels; the end is exclusive.
    """
    height, width = sizes[:, :1].astype(np.float64), sizes[:, 1:].astype(np.float64)
    shape = (len(sizes), attempts)
    target = height * width * generator.uniform(*area, shape)
    aspect = np.exp(generator.uniform(np.log(ratio[0]), np.log(ratio[1]), shape))
    tried_w, tried_h = np.round(np.sqrt(target * aspect)), np.round(np.sqrt(target / aspect))
    fits = (tried_w > 0) & (tried_w <= width) & (tried_h > 0) & (tried_h <= height)
    first = fits.argmax(1)
    rows = np.arange(len(sizes))
    crop_w, crop_h = tried_w[rows, first], tried_h[rows, first]
    height, width, found = height[:, 0], width[:, 0], fits.any(1)
    crop_w = np.where(found, crop_w, np.where(width > height * ratio[1], np.round(height * ratio[1]), width))
    crop_h = np.where(found, crop_h, np.where(width < height * ratio[0], np.round(width / ratio[0]), height))
    place = generator.random((2, len(sizes)))
    top = np.where(found, np.floor(place[0] * (height - crop_h + 1)), (height - crop_h) // 2)
    left = np.where(found, np.floor(place[1] * (width - crop_w + 1)), (width - crop_w) // 2)
    start = np.stack([top, left], 1).astype(np.float32)
    return start, start + np.stack([crop_h, crop_w], 1).astype(np.float32)


def draw_patches(sizes, patch, generator):
    """Two squares of each image, one centred and one at a uniform place, of `patch` pixels or of the shorter side if that is less.

    Returns:
        dict: roi_start_patch0, roi_end_patch0 (the centred one), roi_start_patch1, roi_end_patch1 (N, 2) float32, row and column in
        pixels, the end exclusive; patch_size (N, 2) float32, the size in pixels that they shall have.
    """
    side = np.minimum(patch, sizes.min(1, keepdims=True))
    room = sizes - side
    starts = room // 2, np.floor(generator.random(sizes.shape) * (room + 1))
    made = {"patch_size": np.full(sizes.shape, patch, np.float32)}
    for number, start in enumerate(starts):
        made[f"roi_start_patch{number}"], made[f"roi_end_patch{number}"] = start.astype(np.float32), (start + side).astype(np.float32)
    return made


def eval_window(sizes, image_size, resize):
    """The window that "resize the shorter side to `resize`, then cut the central `image_size`²" shows, in pixels of the image.

    Returns:
        start, end: (N, 2) float32, row and column; the end is exclusive.
    """
    sizes = sizes.astype(np.float64)
    side = image_size / resize * sizes.min(1, keepdims=True)
    start = (sizes - side) / 2
    return start.astype(np.float32), (start + side).astype(np.float32)
