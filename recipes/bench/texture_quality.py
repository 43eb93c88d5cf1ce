"""How much of an image a texture keeps: colours, spectrum, patches, and probes for shape and
texture.

Legend: N images, H W pixels, P patches.
"""

from __future__ import annotations

import torch
from torch import nn

from fastneg.models.backbones import build_backbone

COLOUR_BINS = 8  # a channel
PATCH = 7  # side in pixels of the patches that are compared
SPECTRUM_BINS = 24


def colour_distance(image, other):
    """Half the sum of differences between two joint colour histograms of 8×8×8 bins.

    Args:
        image, other: (3, H, W) uint8.
    Returns:
        0 for equal histograms, 1 for disjoint ones.
    """
    histograms = []
    for pixels in (image, other):
        bins = pixels.long() * COLOUR_BINS // 256
        codes = (bins[0] * COLOUR_BINS + bins[1]) * COLOUR_BINS + bins[2]
        histograms.append(torch.bincount(codes.flatten(), minlength=COLOUR_BINS**3) / codes.numel())
    return float((histograms[0] - histograms[1]).abs().sum() / 2)


def spectrum_distance(image, other):
    """Mean difference in dB between two radial power spectra of the luma, over bins of equal width
    up to the Nyquist frequency."""
    one, two = (radial_spectrum(pixels) for pixels in (image, other))
    return float((one - two).abs().mean())


def radial_spectrum(pixels):
    """(SPECTRUM_BINS,) mean power in dB at each distance from frequency 0, which is left out; under
    a Hann window."""
    luma = pixels.float().mean(0)
    height, width = luma.shape
    window = torch.hann_window(height, False)[:, None] * torch.hann_window(width, False)
    power = torch.fft.fft2((luma - luma.mean()) * window).abs() ** 2
    radius = (torch.fft.fftfreq(height)[:, None] ** 2 + torch.fft.fftfreq(width) ** 2).sqrt()
    bins = (radius / 0.5 * SPECTRUM_BINS).long()
    used = (radius > 0) & (bins < SPECTRUM_BINS)
    total = torch.zeros(SPECTRUM_BINS).index_add_(0, bins[used], power[used])
    counts = torch.zeros(SPECTRUM_BINS).index_add_(0, bins[used], torch.ones(int(used.sum())))
    # One level of noise in each pixel is the floor, so that flat images have a spectrum.
    floor = (window**2).sum()
    return 10 * torch.log10(total / counts.clamp_min(1) + floor)


def patch_distance(image, other, count=256, generator=None):
    """How far patches of `image` are from their nearest neighbour among all patches of `other`.

    From a texture to its image, it says whether the parts of the texture are true. From the image
    to its texture, it says whether any are missing.

    Args:
        image, other: (3, H, W) uint8.
    Returns:
        the mean over `count` random patches of the root mean square difference, in levels of 255.
    """
    # Squares of float64, so that the distance of equal patches is 0 to many digits.
    unfold = lambda pixels: nn.functional.unfold(pixels[None].double() - 128, PATCH)[0].T
    asked, known = unfold(image), unfold(other)
    asked = asked[torch.randint(len(asked), (count,), generator=generator)]
    nearest = torch.full((count,), torch.inf, dtype=torch.float64)
    for part in known.split(8192):
        nearest = nearest.minimum(((part**2).sum(1) - 2 * asked @ part.T).amin(1))
    squared = (nearest + (asked**2).sum(1)).clamp_min(0)
    return float((squared / asked.shape[1]).sqrt().mean())


def train_probe(images, labels, classes, *, epochs=10, batch_size=64, lr=0.1, seed=0):
    """A tiny residual network that was trained to tell the classes of images (N, 3, H, W) uint8
    apart; in eval mode."""
    torch.manual_seed(seed)
    backbone, width = build_backbone("resnet_tiny")
    model = (
        nn.Sequential(backbone, nn.Linear(width, classes))
        .train()
        .to(memory_format=torch.channels_last)
    )
    optimizer = torch.optim.SGD(
        model.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4, nesterov=True
    )
    steps, generator = epochs * (len(images) // batch_size), torch.Generator().manual_seed(seed)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    for _ in range(epochs):
        order = torch.randperm(len(images), generator=generator)
        for rows in order[: len(images) // batch_size * batch_size].split(batch_size):
            loss = nn.functional.cross_entropy(model(_scaled(images[rows])), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def accuracy(model, images, labels):
    """Percent of the images (N, 3, H, W) uint8 that a probe classifies right."""
    parts = zip(images.split(256), labels.split(256), strict=True)
    right = sum(int((model(_scaled(part)).argmax(1) == true).sum()) for part, true in parts)
    return 100 * right / len(images)


def _scaled(images):
    return ((images.float() - 127.5) / 64).contiguous(memory_format=torch.channels_last)
