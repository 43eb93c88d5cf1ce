"""Common corruptions computed on the fly: batched, on the device, seeded for each image.

The formulas and constants are those of ImageNet-C for 224 px images, and of Tiny-ImageNet-C and
CIFAR-10-C for small ones. On equal random numbers they give the published programs' pixels, but for
frost, which is procedural. ImageNet-C and Tiny-ImageNet-C are stored as JPEG files of quality 85,
which is not done here: accuracies come close to those on the published files and are not the same.
Source: Hendrycks and Dietterich 2019, arXiv:1903.12261, and the programs that its authors
published.
Legend: N images, C channels, H W pixels; images are (N, 3, H, W) float32 in 0 … 1.
"""

from __future__ import annotations

from fastneg.config import IMAGENET
from fastneg.counts import counted
from fastneg.evaluation.corruptions import blur, digital, noise, weather
from fastneg.evaluation.corruptions.draws import Draws
from fastneg.evaluation.corruptions.levels import cut_to_8bit, to_8bit
from fastneg.evaluation.corruptions.registry import PUBLISHED, SEVERITIES, nearest_size
from fastneg.evaluation.corruptions.tables import numbers

FAMILIES = {
    "noise": (noise.gaussian_noise, noise.shot_noise, noise.impulse_noise),
    "blur": (blur.defocus_blur, blur.glass_blur, blur.motion_blur, blur.zoom_blur),
    "weather": (weather.snow, weather.frost, weather.fog),
    "digital": (
        digital.brightness,
        digital.contrast,
        digital.elastic_transform,
        digital.pixelate,
        digital.jpeg_compression,
    ),
    "extra": (noise.speckle_noise, blur.gaussian_blur, weather.spatter, digital.saturate),
}
CORRUPTIONS = {found.name: found for family in FAMILIES.values() for found in family}
EXTRA = tuple(found.name for found in FAMILIES["extra"])
"""The four that ImageNet-C keeps for tuning."""
ALL_15 = tuple(name for name in CORRUPTIONS if name not in EXTRA)
"""The corruptions over which ImageNet-C takes its mean."""
STOCHASTIC = tuple(name for name, found in CORRUPTIONS.items() if found.random)

__all__ = [
    "ALL_15",
    "CORRUPTIONS",
    "EXTRA",
    "FAMILIES",
    "SEVERITIES",
    "STOCHASTIC",
    "constants_for",
    "corrupt",
    "normalised",
    "pixels_of",
]


def pixels_of(images, normalisation=IMAGENET):
    """The 8-bit pixels behind a loader's images, (N, 3, H, W) float32 in 0 … 1.

    The images were made with this `Normalisation`. Exact for float16 and float32.
    """
    mean, std = _on_device(normalisation, images)
    return to_8bit(images.float() * std + mean) / 255


def normalised(pixels, normalisation=IMAGENET):
    """(N, 3, H, W) float32: pixels in 0 … 1 as an encoder of this `Normalisation` expects them."""
    mean, std = _on_device(normalisation, pixels)
    return (pixels - mean) / std


def _on_device(normalisation, images):
    return (numbers(tuple(each), images.device)[:, None, None] for each in normalisation)


def constants_for(height, width):
    """The published test set whose constants images of this size get, and its size.

    "Tiny-ImageNet-C (64 px)", say.
    """
    side = nearest_size(height, width)
    return f"{PUBLISHED[side]} ({side} px)"


def corrupt(images, name, severity, index, *, trusted=False):
    """Images under one corruption.

    Args:
        images: (N, 3, H, W) floating point in 0 … 1, on any device.
        name: a key of CORRUPTIONS.
        severity: 1 to 5.
        index: (N,) int64, the images' positions in the data set. With name and severity they seed
            the noise, so that an image is treated alike in whatever batch it comes; CPU and CUDA
            draw different noise.
        trusted: the images are known to lie in 0 … 1, which is not looked at: that would wait for
            the device.
    Returns:
        (N, 3, H, W) float32, on the same device: levels of 8 bits divided by 255. Fractions of a
        level are cut off, as published.
    Raises:
        ValueError: no such corruption or severity, or images of another shape or range.
    """
    if name not in CORRUPTIONS:
        raise ValueError(
            f"There is no corruption {name!r}: one of {', '.join(CORRUPTIONS)} was expected."
        )
    if severity not in SEVERITIES:
        raise ValueError(f"severity is {severity!r}: a whole number from 1 to 5 was expected.")
    if (
        images.dim() != 4
        or images.shape[1] != 3
        or not images.is_floating_point()
        or len(index) != len(images)
    ):
        raise ValueError(
            f"images are {tuple(images.shape)} {images.dtype} with {len(index)} positions: (N, 3, "
            "H, W) floats were expected."
        )
    if min(images.shape[-2:]) < SMALLEST:
        raise ValueError(
            f"images are {counted(tuple(images.shape[-2:]), 'pixel')}: at least {SMALLEST} on "
            "each side were expected."
        )
    images = images.float().contiguous()
    if not trusted:
        _check_range(images)
    found = CORRUPTIONS[name]
    constant = found.constants[nearest_size(*images.shape[-2:])][severity - 1]
    draws = (Draws(images.device, name, severity, index),) if found.random else ()
    return cut_to_8bit(found.function(images.clamp(0, 1), constant, *draws))


def _check_range(images):
    low, high = (value.item() for value in images.aminmax())
    if not (low >= -1e-3 and high <= 1 + 1e-3):
        raise ValueError(
            f"images range from {low:.3g} to {high:.3g}: 0 to 1 was expected; undo the "
            "normalisation first."
        )


SMALLEST = 16
"""Pixels on a side that every formula can do with."""
