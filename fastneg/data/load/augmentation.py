"""The random numbers of each image's views, drawn as a recipe of `fastneg.config.augmentation`
says.

All randomness of the data path is drawn here, on the host, from (seed, epoch, iteration), for the
whole batch over all processes, and passed on as arrays. So a view does not depend on the device, on
the number of processes or on where a run was resumed.
Legend: N images, V views.
"""

from __future__ import annotations

import numpy as np
import torch

from fastneg.config import IMAGENET
from fastneg.kernels.augment import AugmentParams

IMAGENET_MEAN, IMAGENET_STD = IMAGENET


def batch_generator(seed, epoch, iteration):
    """The generator of one batch's views: independent of every other batch's, and found without
    drawing those before."""
    return np.random.Generator(
        np.random.Philox(np.random.SeedSequence([seed, 1, epoch, iteration]))
    )


def draw_view(recipe, sizes, crop_area, generator):
    """The random numbers of one view of each image.

    Args:
        recipe: an `Augmentation`.
        sizes: (N, 2) height and width of each image in pixels.
        crop_area: (smallest, largest) share of the image's area, where the recipe has none of its
            own.
        generator: numpy Generator.
    Returns:
        dict of arrays: roi_start, roi_end (N, 2) float32, row and column in pixels; gray, blur (N,)
        bool; brightness, contrast, saturation, hue (degrees), sigma (N,) float32; mirror (N,)
        int32.
    """
    count = len(sizes)
    start, end = draw_crops(sizes, recipe.area or crop_area, recipe.ratio, generator)
    jitter, gray, blur, mirror = (
        generator.random(count) < p
        for p in (recipe.jitter_p, recipe.gray_p, recipe.blur_p, recipe.flip_p)
    )
    factors = {
        name: generator.uniform(1 - getattr(recipe, name), 1 + getattr(recipe, name), count)
        for name in ("brightness", "contrast", "saturation")
    }
    view = {
        name: np.where(jitter, factor, 1.0).astype(np.float32) for name, factor in factors.items()
    }
    view["hue"] = np.where(
        jitter, 360.0 * generator.uniform(-recipe.hue, recipe.hue, count), 0.0
    ).astype(np.float32)
    view.update(roi_start=start, roi_end=end, gray=gray, blur=blur, mirror=mirror.astype(np.int32))
    view["sigma"] = generator.uniform(*recipe.blur_sigma, count).astype(np.float32)
    return view


def dali_inputs(view):
    """What DALI's operators are fed for a view: the arrays of `draw_view`, and `twist` (N,) bool,
    whether any colour changes."""
    # In YIQ hue and saturation leave the luma alone, so grayscale after the jitter is the jitter
    # with saturation 0.
    saturation = np.where(view["gray"], np.float32(0), view["saturation"])
    changes = [view["brightness"] != 1, view["contrast"] != 1, saturation != 1, view["hue"] != 0]
    return {
        **{name: values for name, values in view.items() if name != "gray"},
        "saturation": saturation,
        "twist": np.any(changes, 0),
    }


def draw_jitter_order(count, generator):
    """(N, 4) int32: the order of brightness, contrast, saturation and hue in each image, as
    torchvision's ColorJitter draws it."""
    return generator.permuted(np.tile(np.arange(4, dtype=np.int32), (count, 1)), axis=1)


def augment_params(view, order):
    """The colour half of a view as the kernels take it: `AugmentParams` on the CPU.

    Args:
        view: arrays of `draw_view`.
        order: as of `draw_jitter_order`.
    """
    factors = np.stack(
        [view["brightness"], view["contrast"], view["saturation"], view["hue"] / np.float32(360)], 1
    )
    arrays = (
        order,
        factors,
        view["gray"],
        np.where(view["blur"], view["sigma"], np.float32(0)),
        view["mirror"].astype(bool),
    )
    return AugmentParams(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))


def draw_crops(sizes, area, ratio, generator, attempts=10):
    """Windows of torchvision's RandomResizedCrop: ten tries, then the largest central window whose
    ratio is within bounds.

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
    crop_w = np.where(
        found, crop_w, np.where(width > height * ratio[1], np.round(height * ratio[1]), width)
    )
    crop_h = np.where(
        found, crop_h, np.where(width < height * ratio[0], np.round(width / ratio[0]), height)
    )
    place = generator.random((2, len(sizes)))
    top = np.where(found, np.floor(place[0] * (height - crop_h + 1)), (height - crop_h) // 2)
    left = np.where(found, np.floor(place[1] * (width - crop_w + 1)), (width - crop_w) // 2)
    start = np.stack([top, left], 1).astype(np.float32)
    return start, start + np.stack([crop_h, crop_w], 1).astype(np.float32)


def draw_patches(sizes, patch, generator):
    """Two squares of each image, one centred and one at a uniform place, of `patch` pixels or of
    the shorter side if that is less.

    Returns:
        dict: roi_start_patch0, roi_end_patch0 (the centred one), roi_start_patch1, roi_end_patch1
        (N, 2) float32, row and column in pixels, the end exclusive; patch_size (N, 2) float32, the
        size in pixels to which they are resized.
    """
    side = np.minimum(patch, sizes.min(1, keepdims=True))
    room = sizes - side
    starts = room // 2, np.floor(generator.random(sizes.shape) * (room + 1))
    made = {"patch_size": np.full(sizes.shape, patch, np.float32)}
    for number, start in enumerate(starts):
        made[f"roi_start_patch{number}"], made[f"roi_end_patch{number}"] = (
            start.astype(np.float32),
            (start + side).astype(np.float32),
        )
    return made


def eval_window(sizes, image_size, resize):
    """The window that "resize the shorter side to `resize`, then cut the central `image_size`²"
    shows, in pixels of the image.

    Returns:
        start, end: (N, 2) float32, row and column; the end is exclusive.
    """
    sizes = sizes.astype(np.float64)
    side = image_size / resize * sizes.min(1, keepdims=True)
    start = (sizes - side) / 2
    return start.astype(np.float32), (start + side).astype(np.float32)


def window_shares(view, sizes):
    """(N, 4) float32: top, left, bottom and right of a view's window, as shares of the image."""
    corners = [view[name] / sizes for name in ("roi_start", "roi_end")]
    return np.concatenate(corners, 1).astype(np.float32)
