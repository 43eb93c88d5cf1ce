"""What a run is made of (fastneg.training.build), and what a checkpoint gives back to it."""

import contextlib
import json
import sys

import pytest
import torch

from fastneg.config import ConfigError
from fastneg.errors import TrainingError
from fastneg.models.export import export_weights
from fastneg.runs import checkpoint, paths
from fastneg.training.build import build
from fastneg.training.trainer import Trainer, pretrain
from helpers.pretraining import ALONE, rows, settings


def parts_of(config):
    """The parts of a run, closed again."""
    with contextlib.ExitStack() as stack:
        return build(config, ALONE, stack)


def test_a_new_run(beton, tmp_path):
    config = settings(beton, tmp_path / "run")
    parts = parts_of(config)
    assert parts.step == 0 and parts.knn is None and not parts.autocast
    assert parts.model is parts.method and parts.batch_norms == 9
    assert len(parts.loader) == 5 and len(parts.reader) == 40
    written = json.loads((tmp_path / "run" / paths.CONFIG).read_text())
    assert written == json.loads(json.dumps(config.replace(augment_with="kernel").as_dict()))
    assert (tmp_path / "run" / paths.ENVIRONMENT).exists()
    assert not (tmp_path / "run" / paths.CHECKPOINTS).exists()


def test_a_backbone_without_anything_to_train_is_refused(beton, tmp_path):
    config = settings(beton, tmp_path / "run", backbone="helpers.own_nets:WithoutGradient")
    with pytest.raises(TrainingError, match="no parameter to train: each is frozen"):
        parts_of(config)
    assert not (tmp_path / "run").exists()


def test_the_trainer_steps_what_was_built(beton, tmp_path):
    config = settings(beton, tmp_path / "run")
    with contextlib.ExitStack() as stack:
        trainer = Trainer(config, ALONE, stack)
        batches = stack.enter_context(contextlib.closing(trainer.loader.epoch(0)))
        before = [weight.detach().clone() for weight in trainer.optimizer.parameters]
        stats = trainer.train_step(next(batches), 0.1)
    assert {"loss", "gradient_norm"} <= stats.keys() and stats["loss"].isfinite()
    after = trainer.optimizer.parameters
    assert any(not torch.equal(*pair) for pair in zip(before, after, strict=True))


def test_a_run_that_goes_on_finds_everything_in_place(beton, tmp_path):
    config = settings(beton, tmp_path / "run", log_every=4)
    pretrain(config, stop_after=6)
    with open(tmp_path / "run" / paths.METRICS, "a", encoding="utf-8") as file:
        file.write('{"kind": "train", "step": 7}\n{"kind": "tra')  # of a process that was killed
    with contextlib.ExitStack() as stack:
        trainer = Trainer(config, ALONE, stack)
    assert trainer.step == 6 and trainer.method.pointer == 6 * 8 % 20
    momenta = trainer.optimizer.state_dict()["state"]
    assert momenta and all(state["momentum_buffer"].any() for state in momenta.values())
    assert trainer.meter.state(lambda own: own)["rows"].shape[1] == 2  # since the line of step 4
    assert [row["step"] for row in rows(tmp_path / "run")] == [4]


def test_weights_are_taken_in_where_there_is_no_checkpoint(beton, tmp_path, capsys):
    first = settings(beton, tmp_path / "first", epochs=1)
    pretrain(first)
    state = checkpoint.load_newest(tmp_path / "first")[1]["method"]
    weights = tmp_path / "weights.safetensors"
    export_weights(state, first, "safetensors", weights)
    config = settings(beton, tmp_path / "run", init=str(weights))
    capsys.readouterr()
    taken = parts_of(config).method.state_dict()
    assert "backbone: " in capsys.readouterr().out
    name = "query_encoder.backbone.stem.0.weight"
    assert torch.equal(taken[name], state[name])
    pretrain(config, stop_after=1)
    capsys.readouterr()
    own = parts_of(config).method.state_dict()  # of the checkpoint that there is now
    said = capsys.readouterr().out
    assert not torch.equal(own[name], state[name])
    assert said.startswith("Resuming from") and "backbone: " not in said


def test_what_the_config_tells_is_refused_before_the_folder_is_made(beton, tmp_path):
    for changes, said in (
        ({"batch_size": 64}, "at least one batch of 64"),
        ({"bn": "sync", "bn_splits": None}, "needs several processes"),
        ({"cuda_graphs": True}, "no CUDA kernels to record"),
    ):
        with pytest.raises(TrainingError, match=said):
            parts_of(settings(beton, tmp_path / "run", **changes))
        assert not (tmp_path / "run").exists()


def test_a_log_that_is_refused_leaves_no_settings(beton, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match="wandb is not installed"):
        parts_of(settings(beton, tmp_path / "run", wandb="project"))
    assert not (tmp_path / "run" / paths.CONFIG).exists()
    assert parts_of(settings(beton, tmp_path / "run")).step == 0  # the lock is free again
