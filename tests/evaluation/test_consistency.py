"""Error consistency by hand and against scikit-learn's kappa."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from fastneg.evaluation.consistency import error_consistency


def test_kappa_by_hand():
    one, other = np.array([1, 1, 1, 0], bool), np.array([1, 1, 0, 0], bool)
    # observed 3/4; expected 3/4 · 1/2 + 1/4 · 1/2 = 1/2
    assert error_consistency(one, other) == error_consistency(other, one) == pytest.approx(0.5)
    assert error_consistency(one, one) == pytest.approx(1.0)
    assert error_consistency(other, ~other) == pytest.approx(-1.0)
    assert error_consistency(one, np.ones(4, bool)) == pytest.approx(0.0), (
        "agreeing by accuracy alone"
    )


@pytest.mark.parametrize("accuracies", [(0.5, 0.5), (0.9, 0.7), (0.05, 0.6)])
def test_it_is_cohens_kappa(accuracies):
    rng = np.random.default_rng(0)
    shared = rng.random(500)
    one, other = (
        np.where(rng.random(500) < 0.4, shared, rng.random(500)) < accuracy
        for accuracy in accuracies
    )
    assert error_consistency(one, other) == pytest.approx(cohen_kappa_score(one, other), abs=1e-12)
    assert 0 < error_consistency(one, other) < 1


def test_where_it_is_not_defined():
    assert error_consistency(np.ones(4, bool), np.ones(4, bool)) is None
    assert error_consistency(np.zeros(4, bool), np.zeros(4, bool)) is None
    for one, other in (([True], [True, False]), ([], []), ([[True]], [[True]])):
        with pytest.raises(ValueError, match="of the same images"):
            error_consistency(one, other)
