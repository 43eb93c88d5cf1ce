"""Error consistency: whether two models err on the same images more than their accuracies make
likely.

Source: Geirhos et al. 2020, arXiv:2006.16736; the measure is Cohen's kappa (1960) of right and
wrong.
Legend: N images.
"""

from __future__ import annotations

import numpy as np


def error_consistency(one, other):
    """Cohen's kappa of which images two models answer correctly.

    1: they err on the same images. 0: as if they erred independently. Negative: they err on
    different images more often than by chance.

    Args:
        one, other: (N,) bool, right or wrong, for the same images in the same order.
    Returns:
        float, or None if it is not defined: both are always right, or both always wrong
            (model-vs-human calls that 1).
    Raises:
        ValueError: different numbers of answers, or none.
    """
    one, other = np.asarray(one, bool), np.asarray(other, bool)
    if one.ndim != 1 or one.shape != other.shape or not len(one):
        raise ValueError(
            f"one is {one.shape}, other {other.shape}: (N,) was expected of both, of the same "
            "images."
        )
    expected = one.mean() * other.mean() + (1 - one.mean()) * (1 - other.mean())
    return None if expected == 1 else float(((one == other).mean() - expected) / (1 - expected))
