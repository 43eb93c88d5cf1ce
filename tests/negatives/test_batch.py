"""Negatives that come with a loader's batches are those of a run with its settings."""

import contextlib

import pytest
import torch

from fastneg.config import ConfigError
from fastneg.data.load.train_loader import TrainLoader
from fastneg.negatives.batch import negatives_config
from fastneg.training.trainer import Trainer
from helpers.pretraining import ALONE, settings

KINDS = "patch,texture,blur,random_image"


def test_they_are_those_of_a_run(beton, tmp_path):
    config = settings(beton, tmp_path / "run", negatives=KINDS, negatives_per_query=2)
    with contextlib.ExitStack() as stack:
        trainer = Trainer(config, ALONE, stack)
        batches = [*trainer.loader.epoch(0), *trainer.loader.epoch(1)]
        drawn = []
        for trainer.step, batch in enumerate(batches):
            drawn.append((batch.query, trainer.draw(batch)[1]))
    options = {"patch_min": 4, "patch_max": 16, "crop_area": (config.crop_min, config.crop_max)}
    loader = TrainLoader(
        beton, 8, 32, negatives=KINDS, negatives_per_query=2, seed=config.seed, **options
    )
    with loader:
        made = [*loader, *loader]
    assert len(made) == len(drawn) == 10
    for batch, (query, images) in zip(made, drawn, strict=True):
        assert batch.negatives.shape == (8, 8, 3, 32, 32)
        assert torch.equal(batch.query, query) and torch.equal(batch.negatives, images)


def test_each_process_and_epoch_has_its_own(beton):
    def first(epoch, **options):
        with TrainLoader(beton, 8, 32, negatives="blur", order="sequential", **options) as loader:
            return next(iter(loader.epoch(epoch))).negatives

    one = first(0)
    assert torch.equal(one, first(0)) and not torch.equal(one, first(1))
    assert not torch.equal(one, first(0, seed=1))
    shares = [first(0, rank=rank, world_size=2) for rank in range(2)]
    assert [len(share) for share in shares] == [4, 4]


def test_none_are_made_unless_asked_for(beton):
    for asked in (None, "none"):
        with TrainLoader(beton, 8, 32, negatives=asked) as loader:
            assert next(iter(loader)).negatives is None
            assert loader._texture is None
    for options in ({}, {"negatives": "none"}, {"negatives": "blur"}):
        with pytest.raises(ValueError, match="patch_max has no effect"):
            TrainLoader(beton, 8, 32, patch_max=16, **options)
    with pytest.raises(ConfigError, match="--negatives is 'patches'"):
        TrainLoader(beton, 8, 32, negatives="patches")
    with pytest.raises(ConfigError, match="--patch_max is 40"):
        TrainLoader(beton, 8, 32, negatives="patch", patch_max=40)
    with pytest.raises(ValueError, match="not all of them are images"):
        TrainLoader(beton, 8, 32, negatives="queue_entry")
    config, others = negatives_config(None, 32, 8, {"threads": 1})
    assert config is None and others == {"threads": 1}
