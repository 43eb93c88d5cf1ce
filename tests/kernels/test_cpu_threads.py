"""Shares of a loop over threads cover it, each number once."""

import threading

import pytest
import torch

from fastneg.kernels.cpu_threads import spread


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 10])
def test_every_number_comes_once(monkeypatch, threads, count):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    seen, lock = [], threading.Lock()

    def work(numbers):
        with lock:
            seen.extend(numbers)

    spread(work, count)
    assert sorted(seen) == list(range(count))


def test_what_a_share_raises_is_raised(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    with pytest.raises(KeyError):
        spread(lambda numbers: {}[0], 4)
