"""Noise: Gaussian, Poisson, salt and pepper, speckle."""

from __future__ import annotations

import numpy as np
import torch

from fastneg.evaluation.corruptions.registry import corruption
from fastneg.evaluation.corruptions.tables import table

LEVELS = 256


@corruption(
    (0.08, 0.12, 0.18, 0.26, 0.38),
    (0.04, 0.08, 0.12, 0.15, 0.18),
    (0.04, 0.06, 0.08, 0.09, 0.10),
    random=True,
)
def gaussian_noise(images, deviation, draws):
    """Normal noise."""
    return draws.normal(*images.shape[1:]).mul_(deviation).add_(images)


@corruption((60, 25, 12, 5, 3), (250, 100, 50, 30, 15), (500, 250, 100, 75, 50), random=True)
def shot_noise(images, photons, draws):
    """Poisson noise: the constant counts the photons of full brightness.

    The rates are those of the 8-bit levels of the pixels.
    """
    chance, other = table(_poisson_tables, images.device, photons)
    columns = chance.shape[1]
    draw = draws.uniform(0, columns, *images.shape[1:])
    # Walker's alias method: one draw names a column and, by its fraction, whether the column's own
    # count or the other one stands.
    column = draw.long().clamp_(max=columns - 1)
    cell = (images * (LEVELS - 1)).round_().long().mul_(columns).add_(column).flatten()
    own = chance.flatten()[cell].view_as(draw) > draw - column
    return torch.where(own, column.to(other.dtype), other.flatten()[cell].view_as(draw)) / photons


@corruption(
    (0.03, 0.06, 0.09, 0.17, 0.27),
    (0.01, 0.02, 0.05, 0.08, 0.14),
    (0.01, 0.02, 0.03, 0.05, 0.07),
    random=True,
)
def impulse_noise(images, amount, draws):
    """Salt and pepper: each value of each channel becomes 0 or 1, evenly, with this probability."""
    draw = draws.uniform(0, 1, *images.shape[1:])
    # One draw decides both: below amount / 2 pepper, from there to amount salt.
    return torch.where(draw < amount, (draw >= amount / 2).to(images.dtype), images)


@corruption(
    (0.15, 0.2, 0.35, 0.45, 0.6),
    (0.15, 0.2, 0.25, 0.3, 0.35),
    (0.06, 0.1, 0.12, 0.16, 0.2),
    random=True,
)
def speckle_noise(images, deviation, draws):
    """Normal noise in proportion to the value."""
    return draws.normal(*images.shape[1:]).mul_(deviation).add_(1).mul_(images)


def _poisson_tables(photons):
    """Two tables from which Poisson numbers are drawn, (LEVELS, columns) float32 and int16.

    A column is chosen evenly. It gives its own count with the chance in the first table, and else
    the count in the second.

    Columns are the counts up to nine deviations beyond the highest rate; what lies above (below
    1e-9) is left out.
    Source: Walker 1977, "An efficient method for generating discrete random variables with general
    distributions".
    """
    rates = photons * np.arange(LEVELS) / (LEVELS - 1)
    columns = int(photons + 9 * np.sqrt(photons) + 9)
    counts = np.arange(columns)
    logs = np.cumsum(np.log(np.maximum(counts, 1)))
    with np.errstate(divide="ignore", invalid="ignore"):
        density = np.exp(
            np.where(rates[:, None] > 0, counts * np.log(rates[:, None]), 0) - rates[:, None] - logs
        )
    density[0] = counts == 0
    height = density / density.sum(1, keepdims=True) * columns
    chance, other = (
        np.ones((LEVELS, columns), np.float32),
        np.tile(counts.astype(np.int16), (LEVELS, 1)),
    )
    for level in range(LEVELS):
        rest, own, twin = height[level].tolist(), chance[level], other[level]
        low, high = (
            [i for i in counts.tolist() if (rest[i] < 1) == below] for below in (True, False)
        )
        while low and high:
            poor, rich = low.pop(), high[-1]
            own[poor], twin[poor] = rest[poor], rich
            rest[rich] -= 1 - rest[poor]
            if rest[rich] < 1:
                low.append(high.pop())
    return torch.from_numpy(chance), torch.from_numpy(other)
