"""What a dry run says of memory, steps and files is what a run then takes and leaves."""

import contextlib

import pytest
import torch

from fastneg.data import BetonError, open_data
from fastneg.data.beton.local_copy import CACHE_VARIABLE
from fastneg.errors import TrainingError
from fastneg.training.forecast import _parts, forecast, kept_activations
from fastneg.training.trainer import Trainer, pretrain
from helpers.http_files import served
from helpers.pretraining import ALONE, rows, settings
from helpers.tinted import make_beton


def number(lines, word, position=0):
    """The figure before a unit in the line that holds a word, in bytes."""
    (line,) = [line for line in lines if word in line]
    value, unit = line.split(": ")[1].split()[:2]
    return float(value) * {"B": 1, "KiB": 2**10, "MiB": 2**20}[unit.strip(",")]


@pytest.mark.parametrize(
    ("optimizer", "kept_of_each"), [("sgd", "a momentum"), ("adamw", "2 moments")]
)
def test_it_is_what_a_run_takes(beton, tmp_path, optimizer, kept_of_each):
    config = settings(beton, tmp_path / "run", epochs=2, checkpoint_every=1, optimizer=optimizer)
    lines = forecast(config, ALONE)
    assert not (tmp_path / "run").exists()
    with contextlib.ExitStack() as stack:
        trainer = Trainer(config, ALONE, stack)
        trained = [each for each in trainer.method.parameters() if each.requires_grad]
        held = _parts(config, trainer.method, trained)
        batch = next(iter(trainer.loader.epoch(0)))
        trainer.train_step(batch, 0.1)
        size = lambda tensors: sum(each.numel() * each.element_size() for each in tensors)
        momenta = [
            each
            for state in trainer.optimizer.state_dict()["state"].values()
            for each in state.values()
            if torch.is_tensor(each) and each.ndim
        ]
        assert held[f"optimizer ({kept_of_each} of each parameter)"] == size(momenta)
        assert held["gradients"] == size(trained)
        everything = [*trainer.method.parameters(), *trainer.method.buffers()]
        parts = {name: each for name, each in held.items() if name not in ("gradients",)}
        assert sum(parts.values()) == size([*everything, *momenta])
        assert held["queue"] == 20 * 16 * 4
    assert "Steps: 5 an epoch of 8 images, 10 in all (2 epochs), on cpu." in lines
    pretrain(config)
    kept = sorted((tmp_path / "run" / "checkpoints").iterdir())
    assert "the newest 2," in next(line for line in lines if "checkpoints/" in line)
    told = float(next(line for line in lines if "checkpoints/" in line).split()[-3]) * 2**20
    assert len(kept) == 2 and kept[-1].stat().st_size == pytest.approx(told, rel=0.1)
    assert f"metrics.jsonl: {len(rows(tmp_path / 'run'))} lines" in "\n".join(lines)
    again = forecast(config, ALONE)
    assert any(line.startswith("Start: resumes from") for line in again)
    refused = forecast(config.replace(resume="never"), ALONE)
    assert any("REFUSED" in line for line in refused)


@pytest.mark.parametrize("method", ["moco", "simclr", "byol"])
def test_activations_grow_with_size_and_half_of_them_with_half_precision(method):
    changes = {} if method == "moco" else {"queue_size": None}
    changes |= {"bn": "none", "bn_splits": None, "eval_resize": 64}
    config = settings("x", "y", negatives="none", method=method, **changes)
    small, large = (kept_activations(config.replace(image_size=side)) for side in (32, 64))
    assert 3.5 < large / small < 4.1  # convolutions keep maps, heads little
    with_negatives = kept_activations(config.replace(negatives="patch"))
    # SimCLR's negatives pass with a gradient, those of a key encoder without
    assert with_negatives / small == pytest.approx(1.5 if method == "simclr" else 1, rel=0.05)
    assert kept_activations(config, half=True) < 0.8 * small


def test_data_that_lies_elsewhere_is_not_copied(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    (tmp_path / "site").mkdir()
    make_beton(tmp_path / "site" / "x.beton")
    with served(tmp_path / "site") as (url, asked):
        config = settings(f"{url}/x.beton", tmp_path / "run")
        lines = "\n".join(forecast(config, ALONE))
        assert "24 images, " in lines and "4 classes, would be copied to" in lines
        assert asked["/x.beton"] == 0 and not (tmp_path / "cache").exists()
        open_data(f"{url}/x.beton").close()
        assert "would be copied" not in "\n".join(forecast(config, ALONE))
    (tmp_path / "site" / "x.beton.json").unlink()
    with served(tmp_path / "site") as (url, _), pytest.raises(BetonError, match=r"\.json.*missing"):
        forecast(settings(f"{url}/x.beton", tmp_path / "run"), ALONE)


def test_what_a_run_would_be_refused_for_is_told(beton, tmp_path):
    with pytest.raises(TrainingError, match="at least one batch"):
        forecast(settings(beton, tmp_path / "run", batch_size=64), ALONE)
    with pytest.raises(TrainingError, match="bn shuffle needs several"):
        forecast(settings(beton, tmp_path / "run", bn="shuffle", bn_splits=None), ALONE)
