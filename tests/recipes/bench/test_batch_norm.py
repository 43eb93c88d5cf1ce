"""The rows of the benchmark of batch normalisation, whose contenders compute the same."""

import itertools

import torch

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
