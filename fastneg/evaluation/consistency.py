"""Error consistency: whether two models err on the same images more than their accuracies make
likely.

Source: Geirhos et al. 2020, arXiv:2006.16736; the measure is Cohen's kappa (1960) of right and
wrong.
Legend: N images.
"""

from __future__ import annotations

import numpy as np


def error_consistency(one, other):
    """Cohen's kappa of which images two models get right.

    1: the same ones. 0: as if they erred independently. Negative: rather others.

    Args:
        one, other: (N,) bool, right or wrong, of the same images in the same order.
    Returns:
        float, or None where it is not defined: both get all right, or both all wrong
            (model-vs-human calls that 1).
    Raises:
        ValueError: not as many answers of both, or none.
    """
    one, other = np.asarray(one, bool), np.asarray(other, bool)
    if one.ndim != 1 or one.shape != other.shape or not len(one):
        raise ValueError(
            f"one is {one.shape}, other {other.shape}: (N,) was expected of both, of the same "
            "images."
        )
    expected = one.mean() * other.mean() + (1 - one.mean()) * (1 - other.mean())
    return None if expected == 1 else float(((one == other).mean() - expected) / (1 - expected))
