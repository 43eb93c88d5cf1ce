"""Noise is as wide as its severity, counts photons, and is salt and pepper."""

import numpy as np
import pytest
import torch
from scipy import stats

from fastneg.evaluation.corruptions import (
    CORRUPTIONS,
    SEVERITIES,
    corrupt,
)
from fastneg.evaluation.corruptions.draws import Draws
from fastneg.evaluation.corruptions.noise import _poisson_tables

GRAY = torch.full((4, 3, 128, 128), 0.5)


@pytest.mark.parametrize(
    ("severity", "deviation"), [*zip(SEVERITIES, (0.08, 0.12, 0.18, 0.26, 0.38), strict=True)]
)
def test_gaussian_noise_is_as_wide_as_its_severity(severity, deviation):
    change = corrupt(GRAY, "gaussian_noise", severity, torch.arange(4)) - GRAY
    # before anything is clipped: P(|n| < 0.1) = erf(0.1 / (σ√2))
    within = (change.abs() < 0.1).float().mean().item()
    assert within == pytest.approx(
        torch.erf(torch.tensor(0.1 / (deviation * 2**0.5))).item(), abs=0.006
    )


@pytest.mark.parametrize(
    ("severity", "photons"), [*zip(SEVERITIES, (60, 25, 12, 5, 3), strict=True)]
)
def test_shot_noise_counts_photons(severity, photons):
    images = torch.full((4, 3, 128, 128), 0.2)
    draws = Draws("cpu", "shot_noise", severity, range(4))
    out = CORRUPTIONS["shot_noise"].function(images, photons, draws)  # before it is cut to 8 bits
    counts = out * photons
    torch.testing.assert_close(counts, counts.round(), atol=1e-4, rtol=0)
    rate = 0.2 * photons
    zeros = (counts.round() == 0).float().mean().item()
    assert zeros == pytest.approx(np.exp(-rate), abs=0.006)
    assert out.mean().item() == pytest.approx(0.2, rel=0.02)
    if photons >= 12:  # for fewer the clipping at 1 takes a part of the variance
        assert counts.var().item() == pytest.approx(rate, rel=0.03)
    black = corrupt(torch.zeros(1, 3, 128, 128), "shot_noise", severity, [0])
    assert black.max() == 0, "no light, no photons"


@pytest.mark.parametrize("photons", [3, 60, 500])
def test_the_tables_of_shot_noise_are_poissons(photons):
    """The alias tables, read back into probabilities."""
    chance, other = (table.numpy() for table in _poisson_tables(photons))
    columns = chance.shape[1]
    for level in (0, 1, 51, 128, 255):
        found = chance[level].astype(np.float64) / columns
        np.add.at(found, other[level], (1 - chance[level].astype(np.float64)) / columns)
        np.testing.assert_allclose(
            found, stats.poisson(photons * level / 255).pmf(np.arange(columns)), atol=3e-8
        )


@pytest.mark.parametrize(
    ("severity", "amount"), [*zip(SEVERITIES, (0.03, 0.06, 0.09, 0.17, 0.27), strict=True)]
)
def test_impulse_noise_is_salt_and_pepper(severity, amount):
    out = corrupt(GRAY, "impulse_noise", severity, torch.arange(4))
    gray = 127 / 255  # of 127.5
    assert out.unique().tolist() == [0.0, pytest.approx(gray), 1.0]
    for value in (0.0, 1.0):
        assert (out == value).float().mean().item() == pytest.approx(amount / 2, abs=0.003)
    salt = (out == 1.0).float()
    assert (salt[:, 0] * salt[:, 1]).mean().item() == pytest.approx((amount / 2) ** 2, abs=0.002), (
        "channels are independent"
    )
