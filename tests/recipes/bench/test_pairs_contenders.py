"""Every contender of the benchmark of pairs computes the same loss and gradients."""

import importlib.util

import pytest
import torch
from torch.nn.functional import normalize

from fastneg.recipes.bench.pairs_contenders import CONTENDERS, PEERS

GPU = pytest.mark.gpu
EACH = [
    pytest.param(loss, name, marks=[GPU] if name in PEERS else [])
    for loss, functions in CONTENDERS.items()
    for name in functions
    if name != "fastneg"
]


def found(loss, name, device):
    g = torch.Generator().manual_seed(0)
    sides = normalize(torch.randn(2, 48, 256, generator=g), dim=2).to(device)
    leaves = [side.clone().requires_grad_() for side in sides]
    leaves += [torch.tensor(value, device=device, requires_grad=True) for value in (12.0, -6.0)]
    value = CONTENDERS[loss][name](*leaves)
    return value.detach(), *torch.autograd.grad(value, leaves[: 4 if loss == "siglip" else 3])


@pytest.mark.parametrize(("loss", "name"), EACH)
def test_they_agree_with_ours(loss, name):
    if name in PEERS and importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed (extra bench)")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tolerance = 1e-2 if name in PEERS else 1e-5
    for ours, theirs in zip(found(loss, "fastneg", device), found(loss, name, device), strict=True):
        assert (ours - theirs).norm() <= tolerance * ours.norm()
