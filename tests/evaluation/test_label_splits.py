"""Rows drawn class by class: parts held out, shares of the labels."""

import torch

from fastneg.evaluation.label_splits import few_shot, hold_out


def test_held_out_rows_are_of_every_class_and_no_others():
    labels = torch.tensor([0] * 10 + [1] * 3 + [2])
    fit, held = hold_out(labels, 0.2, seed=0)
    assert sorted([*fit.tolist(), *held.tolist()]) == list(range(14))
    assert labels[held].tolist() == [0, 0, 1] and torch.equal(
        held, hold_out(labels, 0.2, seed=0)[1]
    )
    assert not torch.equal(held, hold_out(labels, 0.2, seed=1)[1])


def test_a_few_shot_subset_holds_its_share_of_each_class():
    labels = torch.tensor([0] * 250 + [1] * 100 + [2] * 3)
    rows = few_shot(labels, 1, seed=0)
    assert torch.bincount(labels[rows]).tolist() == [3, 1, 1] and len(rows.unique()) == 5
    assert torch.bincount(labels[few_shot(labels, 10, seed=0)]).tolist() == [25, 10, 1]
    assert torch.equal(rows, few_shot(labels, 1, seed=0)) and not torch.equal(
        rows, few_shot(labels, 1, seed=1)
    )
    assert len(few_shot(labels, 100.0, seed=0)) == 353
    assert len(few_shot(torch.zeros(250, dtype=torch.int64), 64.4, seed=0)) == 161, (
        "not 162, as 64.4 · 250 / 100 is in floats"
    )
    gaps = torch.tensor([7, 7, 2, 7, 2])
    assert sorted(gaps[few_shot(gaps, 34, seed=0)].tolist()) == [2, 7, 7], "classes may be missing"
