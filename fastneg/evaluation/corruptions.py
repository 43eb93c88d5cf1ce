"""Common corruptions computed on the fly: batched, on the device, seeded for each image.

The formulas and severities are those of ImageNet-C for 224 px images. The published set holds JPEG files of 224 px, made from larger
images; here the pixels that the network would see are corrupted, without another JPEG round, and only pixelate and jpeg_compression round
to 8 bits. Accuracies come close to those on the published files and are not the same.
Source: Hendrycks and Dietterich 2019, arXiv:1903.12261.
Legend: N images, C channels, H W pixels; images are (N, 3, H, W) float32 in 0 … 1.
"""

from __future__ import annotations

import io
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

from fastneg.data.augmentation import IMAGENET_MEAN, IMAGENET_STD

SEVERITIES = (1, 2, 3, 4, 5)
ALL_15 = (
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
)
"""The corruptions over which ImageNet-C takes its mean."""


def gaussian_noise(images, severity, generators):
    """Normal noise with a deviation of 0.08 to 0.38."""
    deviation = (0.08, 0.12, 0.18, 0.26, 0.38)[severity - 1]
    return images + deviation * _each(images, generators, lambda out, g: out.normal_(generator=g))


def shot_noise(images, severity, generators):
    """Poisson noise: 60 to 3 photons at full brightness."""
    photons = (60, 25, 12, 5, 3)[severity - 1]
    rates = images.clamp(0, 1) * photons
    counts = torch.stack([torch.poisson(rate, generator=g) for rate, g in zip(rates, generators, strict=True)])
    return counts / photons


def impulse_noise(images, severity, generators):
    """Salt and pepper: each value of each channel becomes 0 or 1, evenly, with probability 0.03 to 0.27."""
    amount = (0.03, 0.06, 0.09, 0.17, 0.27)[severity - 1]
    draw = _each(images, generators, lambda out, g: out.uniform_(generator=g))
    # One draw decides both: below amount / 2 pepper, from there to amount salt.
    return torch.where(draw < amount, (draw >= amount / 2).to(images.dtype), images)


def defocus_blur(images, severity, generators=None):
    """Convolution with a disk of radius 3 to 10, its edge smoothed; the image is mirrored at its border."""
    radius, alias = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))[severity - 1]
    kernel = torch.from_numpy(_disk(radius, alias)).to(images)
    pad = kernel.shape[0] // 2
    if min(images.shape[-2:]) <= pad:
        raise ValueError(f"Images of {tuple(images.shape[-2:])} pixels are too small for a disk kernel of {2 * pad + 1} pixels.")
    planes = F.pad(images.flatten(0, 1)[:, None], (pad,) * 4, mode="reflect")
    return F.conv2d(planes, kernel[None, None]).view_as(images)


def brightness(images, severity, generators=None):
    """0.1 to 0.5 added to the value channel of HSV, hue and saturation kept."""
    value = images.amax(1, keepdim=True)
    brighter = (value + 0.1 * severity).clamp(max=1)
    # With hue and saturation kept, RGB is proportional to the value; black has no hue and becomes gray.
    return torch.where(value > 0, images * (brighter / value.clamp_min(1e-12)), brighter)


def contrast(images, severity, generators=None):
    """Differences to each channel's mean shrunk to 0.4 to 0.05."""
    factor = (0.4, 0.3, 0.2, 0.1, 0.05)[severity - 1]
    mean = images.mean((2, 3), keepdim=True)
    return (images - mean) * factor + mean


def pixelate(images, severity, generators=None):
    """Scaled to 0.6 to 0.25 of the side with a box filter and back, with Pillow's weights and its rounding after each pass."""
    factor = (0.6, 0.5, 0.4, 0.3, 0.25)[severity - 1]
    height, width = images.shape[-2:]
    small = int(height * factor), int(width * factor)
    pixels = _to_8bit(images)
    for (rows, columns), (new_rows, new_columns) in (((height, width), small), (small, (height, width))):
        across, down = (torch.from_numpy(_box(*sides)).to(images) for sides in ((columns, new_columns), (rows, new_rows)))
        pixels = torch.floor(pixels @ across.T + 0.5)
        pixels = torch.floor(down @ pixels + 0.5)
    return pixels / 255


def jpeg_compression(images, severity, generators=None):
    """Through Pillow's JPEG with quality 25 to 7, on the CPU."""
    quality = (25, 18, 15, 10, 7)[severity - 1]
    pixels = _to_8bit(images).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    with ThreadPoolExecutor() as pool:
        decoded = np.stack(list(pool.map(lambda image: _jpeg_round(image, quality), pixels)))
    return torch.from_numpy(decoded).to(images.device).permute(0, 3, 1, 2).to(images.dtype) / 255


CORRUPTIONS = {
    function.__name__: function
    for function in (
        gaussian_noise,
        shot_noise,
        impulse_noise,
        defocus_blur,
        brightness,
        contrast,
        pixelate,
        jpeg_compression,
    )
}

STOCHASTIC = ("gaussian_noise", "shot_noise", "impulse_noise")


def pixels_of(images):
    """(N, 3, H, W) float32 in 0 … 1: the 8-bit pixels behind a loader's normalised images. Exact for float16 and float32."""
    mean, std = _normalisation(images)
    return _to_8bit(images.float() * std + mean) / 255


def normalised(pixels):
    """(N, 3, H, W) float32: pixels in 0 … 1 as the encoder expects them."""
    mean, std = _normalisation(pixels)
    return (pixels - mean) / std


def _normalisation(images):
    return (torch.tensor(values, device=images.device)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))


def corrupt(images, name, severity, index):
    """Images under one corruption.

    Args:
        images: (N, 3, H, W) floating point in 0 … 1, on any device.
        name: a key of CORRUPTIONS.
        severity: 1 to 5.
        index: (N,) int64, the images' positions in the data set. With name and severity they seed the noise, so that an image is treated
            alike in whatever batch it comes; CPU and CUDA draw different noise.
    Returns:
        (N, 3, H, W) float32 in 0 … 1, on the same device.
    Raises:
        ValueError: no such corruption or severity, or images of another shape or range.
    """
    if name not in CORRUPTIONS:
        raise ValueError(f"There is no corruption {name!r}: one of {', '.join(CORRUPTIONS)} was expected.")
    if severity not in SEVERITIES:
        raise ValueError(f"severity is {severity!r}: a whole number from 1 to 5 was expected.")
    if images.dim() != 4 or images.shape[1] != 3 or not images.is_floating_point() or len(index) != len(images):
        raise ValueError(f"images are {tuple(images.shape)} {images.dtype} with {len(index)} positions: (N, 3, H, W) floats were expected.")
    images = images.float()
    low, high = (value.item() for value in images.aminmax())
    if not (low >= -1e-3 and high <= 1 + 1e-3):
        raise ValueError(f"images range from {low:.3g} to {high:.3g}: 0 to 1 was expected; undo the normalisation first.")
    generators = [_generator(images.device, name, severity, int(i)) for i in index] if name in STOCHASTIC else None
    return CORRUPTIONS[name](images, severity, generators).clamp(0, 1)


def _generator(device, name, severity, index):
    state = np.random.SeedSequence([zlib.crc32(name.encode()), severity, index]).generate_state(2, np.uint32)
    return torch.Generator(device).manual_seed(int(state[0]) << 31 | int(state[1]) >> 1)


def _each(images, generators, draw):
    """A tensor like the images, each image filled from its own generator."""
    out = torch.empty(images.shape, dtype=images.dtype, device=images.device)
    for image, generator in zip(out, generators, strict=True):
        draw(image, generator)
    return out


def _to_8bit(images):
    return torch.floor(images.clamp(0, 1) * 255 + 0.5)


@lru_cache(maxsize=8)
def _disk(radius, alias):
    """The disk kernel of ImageNet-C: pixels within the radius, smoothed by a small Gaussian, (K, K) float32 that sums to 1."""
    reach, taps = (8, 1) if radius <= 8 else (radius, 2)
    line = np.arange(-reach, reach + 1)
    disk = (line[:, None] ** 2 + line[None] ** 2 <= radius**2).astype(np.float64)
    disk /= disk.sum()
    bell = np.exp(-(np.arange(-taps, taps + 1) ** 2) / (2 * alias**2))
    bell /= bell.sum()
    padded = np.pad(disk, taps, mode="reflect")
    rows = sum(weight * padded[i : i + len(line)] for i, weight in enumerate(bell))
    return sum(weight * rows[:, i : i + len(line)] for i, weight in enumerate(bell)).astype(np.float32)


@lru_cache(maxsize=32)
def _box(before, after):
    """(after, before) float32: the weights with which Pillow's box filter resizes a row of pixels."""
    scale = before / after
    support = 0.5 * max(scale, 1.0)
    weights = np.zeros((after, before), np.float32)
    for i in range(after):
        center = (i + 0.5) * scale
        first, last = max(int(center - support + 0.5), 0), min(int(center + support + 0.5), before)
        place = (np.arange(first, last) - center + 0.5) / max(scale, 1.0)
        row = ((place > -0.5) & (place <= 0.5)).astype(np.float64)
        weights[i, first:last] = row / row.sum()
    return weights


def _jpeg_round(pixels, quality):
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))
