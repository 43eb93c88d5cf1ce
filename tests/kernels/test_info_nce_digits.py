"""Gradients of InfoNCE at logits so large that a float32 log-sum-exp has lost its digits, against
float64.

One negative is far ahead of the others, so the softmax is known exactly however large the logits
are: what is lost is lost by us. The kernels are fastneg.kernels.info_nce_triton's.
"""

import pytest
import torch

from fastneg.kernels.info_nce import info_nce
from helpers.info_nce_definition import BACKENDS, definition, draw, loss_and_grads


def errors(tensors, temperature, backend, scale=1.0):
    """Relative errors of the loss and of the gradients of query, positive, negatives, extras and
    temperature."""
    heat = torch.tensor(temperature, device=tensors[0].device)
    options = {"backend": backend} | ({} if tensors[3] is None else {"extra_scale": scale})

    def ours(q, k, n, e, t):
        return info_nce(q, k, n, temperature=t, extra_negatives=e, **options)

    double = [None if tensor is None else tensor.double() for tensor in tensors]
    truth = loss_and_grads(lambda *args: definition(*args, scale)[0].mean(), double, heat.double())
    mine = loss_and_grads(ours, tensors, heat)
    floor = 1e-30  # of a gradient that vanishes
    pairs = zip(truth, mine, strict=True)
    return [((one - other.double()).norm() / (one.norm() + floor)).item() for one, other in pairs]


def one_ahead(which, dtype=torch.float32):
    """A negative of each query that is the query itself, shared or private, and a positive far
    behind."""
    query, _, negatives, extras = draw(16, 90, 32, 3, dtype)
    if which == "shared":
        return query, -query, torch.cat([query, negatives]), extras
    return query, -query, negatives, torch.cat([query[:, None], extras], 1)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("temperature", [1e-3, 1e-4, 1e-5, 1e-6])
@pytest.mark.parametrize("which", ["shared", "private"])
def test_gradients_keep_their_digits_at_large_logits(backend, temperature, which):
    """Logits from 1e3 to 1e6: exp(logit - lse) would be wrong by up to 3 %."""
    assert max(errors(one_ahead(which), temperature, backend)) < 1e-6


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("temperature", [1e-2, 1e-3, 1e-4])
def test_features_in_any_direction(backend, temperature):
    """Logits of rank 1 and 2 apart by chance: known to float32's rounding of the logits, no
    worse."""
    known = torch.finfo(torch.float32).eps / temperature
    assert max(errors(draw(16, 90, 32, 3), temperature, backend, scale=2.0)) < 1e-6 + known


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("which", ["shared", "private"])
def test_half_precision_loses_no_more_than_its_rounding(backend, dtype, which):
    """The gradients are rounded to the dtype; the interpreter truncates the weights before it."""
    *rounded, temperature = errors(one_ahead(which, dtype), 1e-4, backend)
    assert max(rounded) < torch.finfo(dtype).eps and temperature < 1e-6


@pytest.mark.parametrize("backend", BACKENDS)
def test_weights_of_rows_of_unlike_losses_add_up(backend):
    """Some rows at a loss of 1e4, some near 0: their shares of one negative's gradient differ by
    many orders."""
    query, positive, negatives, extras = one_ahead("shared")
    positive[::2] = query[::2] * 1.001
    assert max(errors((query, positive, negatives, extras), 1e-4, backend)) < 1e-6
