"""The rows of the benchmark of batch normalisation, whose contenders compute the same, and the
bytes that it moves."""

import itertools

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from fastneg.models.backbones import build_backbone
from fastneg.models.batch_norm import split_batch_norm
from fastneg.models.fused_norms import fuse
from fastneg.recipes.bench import step_count
from fastneg.recipes.bench.batch_norm import PASSES, _Case, bench_batch_norm


def test_rows_and_contenders_that_agree():
    rows = list(bench_batch_norm(((4, 6, 5),), rounds=2))
    told = {(row["G"], row["residual"], row["pass"], row["contender"]) for row in rows}
    cases = itertools.product((1, 4), (False, True), PASSES, ("fastneg", "torch"))
    assert told == set(cases)
    assert all(row["share_of_floor"] > 0 and row["times_of_fastneg"] > 0 for row in rows)
    assert {row["contender"] for row in bench_batch_norm(((4, 6, 5),), 1, only=("torch",))} == {
        "torch"
    }
    for groups in (1, 2):
        for residual in (False, True):
            case = _Case("cpu", (4, 6, 5), groups, residual)
            found = [
                (layer(), *case.runner(layer, "forward_backward")())
                for layer in (case.fused, case.layers)
            ]
            for one, other in zip(*found, strict=True):
                torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def moved(splits, fused):
    """Bytes of a forward and a backward pass of a network in `splits` groups."""
    network, _ = build_backbone("resnet_tiny", 32)
    split_batch_norm(network, splits)
    if fused:
        fuse(network)
    mode = FakeTensorMode()
    network = step_count._without_memory(network, mode)
    with mode:
        images = torch.empty(64, 3, 32, 32).contiguous(memory_format=torch.channels_last)
        with step_count._Counting() as counting:
            network(images).sum().backward()
    return sum(op.bytes for op in counting.ops)


def test_groups_move_no_more_bytes_than_one():
    """Four of them cost 5% at most, and fusing saves more than a seventh of all."""
    one = moved(1, fused=True)
    assert moved(4, fused=True) < 1.05 * one and one < 0.85 * moved(1, fused=False)
