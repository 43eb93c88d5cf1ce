"""InfoNCELoss against the class of the same call in info-nce-pytorch, and the definition of the
loss by hand; rows of unit length."""

import math
import pickle

import info_nce as peer
import pytest
import torch
from torch.nn.functional import normalize

from fastneg.losses import InfoNCELoss, info_nce
from fastneg.losses.info_nce_loss import unit_rows

MODES = [(None, "unpaired"), (None, "paired"), ((48, 16), "unpaired"), ((12, 7, 16), "paired")]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("shape", "mode"), MODES)
@pytest.mark.parametrize("temperature", [0.1, 0.9])
def test_same_numbers_and_gradients_as_the_peer(reduction, shape, mode, temperature):
    g = torch.Generator().manual_seed(0)
    inputs = [3 * torch.randn(12, 16, generator=g), torch.randn(12, 16, generator=g)]
    if shape:
        inputs.append(torch.randn(shape, generator=g))
    results = []
    for module in (
        InfoNCELoss(temperature, reduction, mode),
        peer.InfoNCE(temperature, reduction, mode),
    ):
        leaves = [tensor.clone().requires_grad_() for tensor in inputs]
        loss = module(*leaves)
        loss.sum().backward()
        results.append([loss.detach(), *(leaf.grad for leaf in leaves)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_the_defaults_are_the_peers():
    x, y = torch.randn(5, 8), torch.randn(5, 8)
    torch.testing.assert_close(InfoNCELoss()(x, y), peer.InfoNCE()(x, y))


def test_by_hand():
    """Two orthogonal pairs at T = 1: each row is -log(e / (e + 1))."""
    eye = torch.eye(2)
    assert info_nce(eye, eye, temperature=1.0).item() == pytest.approx(math.log(1 + math.exp(-1)))


def test_a_learned_temperature():
    heat = torch.nn.Parameter(torch.tensor(0.1))
    InfoNCELoss(heat)(torch.randn(5, 8), torch.randn(5, 8)).backward()
    assert heat.grad.shape == () and heat.grad != 0


def test_it_pickles_and_says_what_it_is():
    loss = pickle.loads(pickle.dumps(InfoNCELoss(0.2, "sum", "paired")))
    assert str(loss) == "InfoNCELoss(temperature=0.2, reduction='sum', negative_mode='paired')"
    assert isinstance(
        InfoNCELoss(torch.nn.Parameter(torch.tensor(0.1))).temperature, torch.nn.Parameter
    )


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="negative_mode is 'pair'"):
        InfoNCELoss(negative_mode="pair")
    with pytest.raises(ValueError, match="extra_negatives are"):
        InfoNCELoss(negative_mode="paired")(torch.randn(5, 8), torch.randn(5, 8), torch.randn(7, 8))
    with pytest.raises(ValueError, match="reduction is 'avg'"):
        InfoNCELoss(reduction="avg")(torch.randn(5, 8), torch.randn(5, 8))


def test_lengths_out_of_reach_of_a_square():
    for dtype, values in (
        (torch.bfloat16, (1e30, 1e-30)),
        (torch.float32, (1e30, 1e-30, 1e-44)),
        (torch.float64, (1e200, 1e-200)),
    ):
        for value in values:
            row = torch.full((1, 4), value, dtype=dtype)
            torch.testing.assert_close(unit_rows(row), torch.full((1, 4), 0.5, dtype=dtype))


def test_ordinary_rows_are_those_of_torch_and_bad_ones_stay_bad():
    rows = torch.randn(5, 7)
    assert torch.equal(unit_rows(rows), normalize(rows, dim=-1))
    assert unit_rows(torch.tensor([[1.0, math.inf], [math.nan, 0.0]])).isnan().any(1).all()
