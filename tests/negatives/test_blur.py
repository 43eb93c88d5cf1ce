"""Blurred negatives keep low frequencies and drop high ones."""

import torch

from fastneg.negatives.blur_torch import blur_negatives


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_blur_keeps_constants_and_low_frequencies_and_drops_high_ones():
    line = torch.arange(64.0)
    slow, fast = (
        torch.cos(torch.pi * (line + 0.5) / 64),
        torch.cos(torch.pi * 20 * (line + 0.5) / 64),
    )
    images = torch.stack([torch.full((64, 64), 3.0), slow.expand(64, 64), fast.expand(64, 64)])[
        :, None
    ]
    out = blur_negatives(images, 1, (1 / 16, 1 / 16), generator())[:, 0]
    # Cosines of the mirrored line are the blur's eigenvectors, with the Fourier transform of the
    # Gaussian as eigenvalues.
    gains = [torch.exp(torch.tensor(-0.5 * (4 * torch.pi * k / 64) ** 2)) for k in (0, 1, 20)]
    for image, blurred, gain in zip(images, out, gains, strict=True):
        torch.testing.assert_close(blurred, image * gain, atol=2e-3, rtol=0)
