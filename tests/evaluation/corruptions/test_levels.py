"""Rounding to the 256 levels of 8 bits, against NumPy."""

import numpy as np
import torch

from fastneg.evaluation.corruptions.levels import cut_to_8bit, to_8bit


def test_levels_are_numpys():
    images = torch.cat([torch.linspace(-0.2, 1.2, 1001), torch.arange(256) / 255])
    limited = np.clip(images.double().numpy(), 0, 1)
    cut = cut_to_8bit(images)
    assert (cut[-256:] * 255).round().tolist() == list(range(256))
    assert np.array_equal((cut[:1001] * 255).round().numpy(), np.uint8(limited[:1001] * 255))
    assert np.abs(to_8bit(images).numpy() - limited * 255).max() <= 0.5 + 1e-4
