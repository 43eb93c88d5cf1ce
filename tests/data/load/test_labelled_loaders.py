"""The loaders of evaluation and of the probe's crops."""

import pytest
import torch

from fastneg.data.load.batch import EvalBatch, ViewBatch
from fastneg.data.load.labelled_loaders import CropLoader, EvalLoader


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(flat(one), flat(other), strict=True))


def flat(batch):
    """The tensors of a batch."""
    return [*batch[:4], *batch[4]] if isinstance(batch, ViewBatch) else list(batch)


def test_evaluation_gives_every_sample_once_in_order(reader):
    loader = EvalLoader(reader, 16, 32, resize=32, threads=1)
    for _ in range(2):
        batches = list(loader)
        assert [len(batch.images) for batch in batches] == [16, 16, 8] and len(loader) == 3
        assert isinstance(batches[0], EvalBatch)
        assert torch.cat([batch.index for batch in batches]).tolist() == list(range(40))
        assert torch.equal(
            torch.cat([batch.label for batch in batches]), torch.from_numpy(reader.labels)
        )
    loader.close()
    with pytest.raises(ValueError, match="below image_size"):
        EvalLoader(reader, 16, 32, resize=16)


def test_probe_crops_cover_the_set_and_change_by_epoch(reader):
    loader = CropLoader(reader, 16, 32, threads=1)
    first, second, again = list(loader.epoch(0)), list(loader.epoch(1)), list(loader.epoch(0))
    assert sorted(torch.cat([batch.index for batch in first]).tolist()) == list(range(40))
    assert [len(batch.index) for batch in first] == [16, 16, 8]
    assert all(equal(one, other) for one, other in zip(first, again, strict=True))
    assert not torch.equal(first[0].index, second[0].index)
    loader.close()


def test_crops_of_a_part_of_the_file(reader):
    loader = CropLoader(reader, 4, 32, seed=1, threads=1, samples=[30, 2, 7, 11, 5])
    for epoch in (0, 1):
        batches = list(loader.epoch(epoch))
        assert [len(batch.index) for batch in batches] == [4, 1]
        index = torch.cat([batch.index for batch in batches])
        assert sorted(index.tolist()) == [2, 5, 7, 11, 30]
        assert torch.equal(
            torch.cat([batch.label for batch in batches]), torch.from_numpy(reader.labels)[index]
        )
    loader.close()


@pytest.mark.parametrize("kind", [EvalLoader, CropLoader])
@pytest.mark.parametrize("cache", ["device", "disk"])
def test_a_cache_is_refused_at_once(reader, kind, cache):
    with pytest.raises(ValueError, match=f"cache is '{cache}': None was expected"):
        kind(reader, 16, 32, cache=cache)
    loader = kind(reader, 16, 32, cache=None, threads=1)
    assert len(loader) == 3
    loader.close()
