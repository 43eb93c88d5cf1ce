"""Procedural frost: five tiling textures.

They have the brightness, contrast, tint and spectrum of photographs of frosted glass.

ImageNet-C crops photographs, which are not shipped here. Each texture is the sum of clouds (noise
of which the power falls with the frequency) and of crystals (ridges: where such noise crosses
zero), scaled to the mean colour and deviation that was measured on one of those photographs. So
accuracies under frost are those of this frost, and are labelled as such.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from fastneg.evaluation.corruptions.tables import table

SIDE = 512
SLOPE = 1.8  # power falls with frequency to this exponent: the photographs' mean over octaves
KINDS = (  # mean of red, green and blue, deviation, share of crystals
    ((0.31, 0.58, 0.65), 0.06, 0.5),
    ((0.79, 0.80, 0.84), 0.08, 0.3),
    ((0.54, 0.60, 0.65), 0.11, 0.7),
    ((0.44, 0.48, 0.53), 0.15, 0.5),
    ((0.28, 0.37, 0.41), 0.15, 0.7),
)
SHRUNK = {224: 1.0, 64: 0.3, 32: 0.2}
"""How much smaller the textures are for small images: as published."""


def frost_textures(size, device):
    """(5, 3, S, S) float32 in 0 … 1 that tile; size: a key of SHRUNK."""
    return table(_textures, device, size)


def _textures(size):
    textures = torch.from_numpy(
        np.stack([_texture(np.random.default_rng([7, i]), *kind) for i, kind in enumerate(KINDS)])
    )
    if SHRUNK[size] < 1:
        textures = F.interpolate(textures, [int(SIDE * SHRUNK[size])] * 2, mode="area")
    return textures


def _texture(rng, colour, deviation, crystals):
    clouds = _clouds(rng)
    # Two directions of needles: noise stretched along an axis has long, thin ridges.
    needles = sum(
        _standard(np.exp(-np.abs(_clouds(rng, stretch)) / 0.12))
        for stretch in ((0.35, 1), (1, 0.35), (1, 1))
    )
    field = _standard((1 - crystals) * clouds + crystals * _standard(needles))
    return np.clip(np.asarray(colour)[:, None, None] + deviation * field, 0, 1).astype(np.float32)


def _clouds(rng, stretch=(1, 1)):
    """Periodic noise of mean 0 and deviation 1 whose power falls as frequency^-SLOPE."""
    rows, columns = (
        np.fft.fftfreq(SIDE)[:, None] * SIDE / stretch[0],
        np.fft.rfftfreq(SIDE) * SIDE / stretch[1],
    )
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = np.inf  # no mean
    # The longest waves are as long as a crop: the texture looks alike everywhere.
    amplitude = np.maximum(frequency, 3.0) ** (-(SLOPE + 1) / 2)
    amplitude[0, 0] = 0
    return _standard(
        np.fft.irfft2(np.fft.rfft2(rng.standard_normal((SIDE, SIDE))) * amplitude, s=(SIDE, SIDE))
    )


def _standard(field):
    return (field - field.mean()) / field.std()
