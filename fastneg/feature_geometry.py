"""Properties of features without labels: effective rank, alignment of two views, uniformity on the
sphere.

Everything is computed in float64 on the device of the features.
Legend: N images, F feature dimension.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

ROWS = 1024
"""Rows whose distances to all others are held at once."""


def rank_me(features: torch.Tensor, epsilon: float = 1e-7) -> float:
    """The effective rank of a feature matrix: exp of the entropy of its singular values.

    With singular values s and p_k = s_k / sum_j s_j + epsilon: exp(-sum_k p_k log p_k). It is
    between 1, where all features lie on a line, and min(N, F); collapsed features have a low one.
    The singular values are roots of the eigenvalues of the smaller Gram matrix, so that those below
    1e-8 of the largest are rounding.

    Args:
        features: (N, F), not normalised.
        epsilon: as published.
    Source: Garrido et al. 2023, arXiv:2210.02885, equation 1.
    """
    rows = features.double()
    gram = rows.mT @ rows if len(rows) >= rows.shape[1] else rows @ rows.mT
    values = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt()
    shares = values / values.sum().clamp_min(torch.finfo(values.dtype).tiny) + epsilon
    return (-(shares * shares.log()).sum()).exp().item()


def alignment(first: torch.Tensor, second: torch.Tensor, power: float = 2.0) -> float:
    """The mean of ‖f(x) - f(y)‖^power over positive pairs, the features at unit length: 0 where two
    views of an image have the same features.

    Args:
        first, second: (N, F), row by row two views of an image.
    Source: Wang and Isola 2020, arXiv:2005.10242, section 4.1 (alpha is `power`).
    """
    apart = F.normalize(first.double(), dim=1) - F.normalize(second.double(), dim=1)
    return apart.norm(dim=1).pow(power).mean().item()


def uniformity(features: torch.Tensor, t: float = 2.0) -> float:
    """The log of the mean of exp(-t ‖f(x) - f(y)‖²) over pairs of different images, the features at
    unit length: 0 where all are the same, about -2t where they are spread over the sphere.

    Args:
        features: (N, F), N at least 2, one row an image.
    Source: Wang and Isola 2020, arXiv:2005.10242, section 4.1.
    """
    rows = F.normalize(features.double(), dim=1)
    n, sums = len(rows), []
    for start in range(0, n, ROWS):
        part = rows[start : start + ROWS]
        squared = (2 - 2 * part @ rows.mT).clamp_min(0)
        itself = torch.arange(len(part), device=rows.device)
        squared[itself, start + itself] = math.inf
        sums.append(torch.logsumexp(-t * squared.flatten(), 0))
    return torch.logsumexp(torch.stack(sums), 0).item() - math.log(n * (n - 1))
