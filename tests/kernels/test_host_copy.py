"""Copies between host and device, on the CPU; the fake device checks that they do not wait."""

import pytest
import torch

from fastneg.kernels.host_copy import joined_later, some_later, to_device


def test_what_is_there_already_is_the_same():
    tensor = torch.arange(4)
    assert to_device(tensor, "cpu") is tensor


def test_rows_come_in_their_order():
    parts = (torch.arange(first, first + 2) for first in range(0, 10, 2))
    assert joined_later(parts).tolist() == list(range(10))


def test_no_rows_are_none():
    assert joined_later(iter(())) is None


@pytest.mark.gpu
def test_copies_from_a_gpu_are_those_that_were_computed():
    rows = []

    def made():
        for number in range(8):
            rows.append(torch.full((1000, 64), float(number), device="cuda").mul_(2))
            yield rows[-1]
            rows[-1].add_(1)  # after the copy, in the stream's order

    assert torch.equal(joined_later(made()), torch.cat(rows).cpu() - 1)


@pytest.mark.gpu
def test_a_pinned_copy_is_not_overwritten_by_the_next():
    sent = [to_device(torch.full((1 << 20,), number), "cuda") for number in range(16)]
    assert [int(each.unique()) for each in sent] == list(range(16))


def test_each_comes_when_some_younger_ones_stand_behind_it():
    begun, seen = [], []

    def made():
        for number in range(5):
            begun.append(number)
            yield torch.tensor([number]), f"of {number}"

    for rows, words in some_later(made()):
        seen.append((rows.item(), words, len(begun)))
    ahead = [3, 4, 5, 5, 5]
    assert seen == [(number, f"of {number}", ahead[number]) for number in range(5)]
    assert list(some_later(iter(()))) == []


@pytest.mark.gpu
def test_some_later_gives_what_was_computed():
    made = ((torch.full((1000, 64), float(n), device="cuda").mul_(2), n) for n in range(8))
    for rows, number in some_later(made):
        assert rows.device.type == "cpu" and (rows == 2 * number).all()
