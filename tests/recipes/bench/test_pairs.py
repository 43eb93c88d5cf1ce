"""The benchmark of SigLIP's and CLIP's loss: its rows on a CPU; every contender computes the same
loss and gradients."""

import importlib.util

import pytest
import torch
from torch.nn.functional import normalize

from fastneg.recipes.bench.pairs import CONTENDERS, PEERS, PRODUCTS, bench_pairs


def test_rows_of_a_small_shape():
    rows = list(bench_pairs(pairs="24x8", rounds=2))
    measured = [row for row in rows if "ms_median" in row]
    assert {(row["loss"], row["contender"], row["pass"]) for row in measured} == {
        (loss, name, which)
        for loss, functions in CONTENDERS.items()
        for name in functions
        if name not in ("inf_cl", "siglip_kernel")
        for which in ("forward", "forward_backward")
    }
    assert all(
        (row["N"], row["D"]) == (24, 8) and row["ms_p20"] <= row["ms_p80"] for row in measured
    )
    assert all(
        row["times_faster_than_eager"] == 1 for row in measured if row["contender"] == "eager"
    )
    said = {row["contender"] for row in rows if row.get("skipped")}
    assert said == {"inf_cl", "siglip_kernel", "torch_compile"}


def test_the_floor_is_that_of_products_made_once():
    rows = list(bench_pairs(pairs=((24, 8),), rounds=2))
    shares = {
        (row["loss"], row["pass"] != "forward"): row["share_of_floor"] * row["ms_median"]
        for row in rows
        if row["contender"] == "fastneg"
    }
    one = shares["siglip", False] / 2
    for key, operations in PRODUCTS.items():
        assert abs(shares[key] / one - operations) < 1e-9


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
