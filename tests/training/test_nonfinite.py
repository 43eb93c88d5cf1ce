"""A step that is not finite leaves a file with which it can be run again."""

import re

import pytest
import torch

from fastneg.data import BetonReader
from fastneg.data.load.order import EpochOrder
from fastneg.errors import CheckpointError, TrainingError
from fastneg.runs.checkpoint import load, paths
from fastneg.training.nonfinite import replay
from fastneg.training.trainer import pretrain
from helpers.pretraining import settings, weights


def diverge(beton, out, **changes):
    """Train until it stops; returns the dump and the number of its step."""
    with pytest.raises(TrainingError, match="was not finite in step") as error:
        pretrain(settings(beton, out, lr=1e25, **changes))
    step, path = re.search(r"in step (\d+): .* (\S+\.pt) holds the step", str(error.value)).groups()
    return path, int(step)


def test_the_dumped_step_is_not_finite_again(beton, tmp_path):
    path, step = diverge(beton, tmp_path / "run", log_every=3)
    # the first step is finite and applies a rate that no weights survive; the log notices at step 3
    assert step == 2
    found, dump = replay(path), load(path)
    assert found["step"] == step and found["loss"] != found["loss"]
    assert any(name.startswith("gradient of query_encoder.") for name in found["not_finite"])
    assert not {"query view", "key view", "negatives"} & set(found["not_finite"])
    order = EpochOrder(len(BetonReader(beton)), 8, seed=0)
    assert found["index"] == order.batch(0, step - 1).tolist()
    # The weights are those that the step before left: finite, and the same as of a run that logs at
    # once.
    other, same = diverge(beton, tmp_path / "other", log_every=1)
    queries = [
        name for name in dump["method"] if re.fullmatch(r"query_encoder\..*(weight|bias)", name)
    ]
    assert same == step and all(
        torch.equal(dump["method"][name], load(other)["method"][name]) for name in queries
    )
    assert all(dump["method"][name].isfinite().all() for name in queries) and not paths(
        tmp_path / "run"
    )


def test_a_checkpoint_is_no_dump(beton, tmp_path):
    pretrain(settings(beton, tmp_path / "run", epochs=1))
    assert weights(tmp_path / "run")
    with pytest.raises(CheckpointError, match="not the file of a step"):
        replay(paths(tmp_path / "run")[0])
