"""A loader in a process of its own gives the batches of the one in a thread."""

import contextlib

import pytest
import torch

from fastneg.data import BetonReader
from fastneg.recipes.bench.loader_process import SLOTS, ProcessLoader, Slots
from fastneg.training.build import train_loader
from helpers.pretraining import ALONE, settings


@pytest.fixture(scope="module")
def loaders(beton, tmp_path_factory):
    config = settings(beton, tmp_path_factory.mktemp("process") / "run")
    with BetonReader(beton) as reader, contextlib.ExitStack() as stack:
        ours = train_loader(reader, config, ALONE, 1)
        apart = ProcessLoader(ours, config, ALONE, 1)
        for each in (ours, apart):
            stack.callback(each.close)
        yield ours, apart


def alike(one, other):
    for name in ("query", "key", "index", "label"):
        found, expected = getattr(one, name), getattr(other, name)
        assert torch.equal(found, expected) and found.stride() == expected.stride(), name
    return True


def test_its_batches_are_those_of_the_thread(loaders):
    """Whole epochs, from any batch on, and after one that was left early; and they own themselves:
    more of them are kept than the shared memory holds."""
    ours, apart = loaders
    assert len(apart) == len(ours) > SLOTS
    kept = list(apart.epoch(0))
    assert all(map(alike, kept, ours.epoch(0)))
    with contextlib.closing(apart.epoch(1)) as left:
        next(left)
    assert all(map(alike, list(apart.epoch(1, start=2)), ours.epoch(1, start=2)))
    assert apart.child_cpu_s > 0


def test_what_happens_there_is_told_here(loaders):
    _, apart = loaders
    with pytest.raises(RuntimeError, match="The loader's process failed: "):
        list(apart.epoch("none", 0))
    with pytest.raises((RuntimeError, OSError)):
        list(apart.epoch(0))
    apart.close()
    assert not apart._child.is_alive()


def test_shared_memory_has_the_layout_of_views():
    views = Slots((4, 6, 8), torch.float32).views
    assert views.shape == (SLOTS, 2, 4, 3, 6, 8) and views[1, 1].is_contiguous(
        memory_format=torch.channels_last
    )
    views[2] = 1.0
    assert views.sum() == 2 * 4 * 3 * 6 * 8
