"""The training loop on real JPEG data: resumed equals uninterrupted, bit for bit; it stops where it
must."""

import contextlib
import json
import math
import os
import signal
import sys
import threading

import pytest
import torch

from fastneg import distributed
from fastneg.config import PretrainConfig
from fastneg.errors import TrainingError
from fastneg.models import backbones
from fastneg.runs import checkpoint
from fastneg.runs.load import load_run
from fastneg.training import trainer
from fastneg.training.trainer import pretrain
from helpers.pretraining import pretrain_in_two, rows, same_weights, settings, weights


@pytest.fixture(scope="module")
def uninterrupted(beton, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "whole"
    result = pretrain(settings(beton, out))
    assert result.finished and result.step == 15
    return out


def test_a_run_leaves_what_it_promises(uninterrupted, beton):
    out = uninterrupted
    began = settings(beton, out).replace(augment_with="kernel")  # auto, on a CPU
    assert PretrainConfig(**json.loads((out / "config.json").read_text())) == began
    assert json.loads((out / "environment.json").read_text())["versions"]["torch"]
    assert [row["step"] for row in rows(out)] == list(range(1, 16))
    expected = {
        "loss",
        "acc1",
        "acc5",
        "positive_similarity",
        "negative_similarity",
        "queue_similarity",
        "gradient_norm",
        "lr",
        "epoch",
    }
    assert expected <= rows(out)[0].keys()
    assert all(0 <= row["acc1"] <= row["acc5"] <= 1 for row in rows(out))
    assert [path.name for path in checkpoint.paths(out)] == [
        "step-000000005.pt",
        "step-000000010.pt",
        "step-000000015.pt",
    ]
    assert sorted(path.name for path in (out / "gallery").glob("0-*")) == [
        "0-image.jpg",
        "0-key.jpg",
        "0-negative-0.jpg",
        "0-query.jpg",
    ]
    assert list((out / "tensorboard").glob("events*"))
    assert json.loads((out / "metrics.jsonl").read_text().splitlines()[0])["kind"] == "start"


def test_the_trained_backbone_loads(uninterrupted):
    run = load_run(uninterrupted)
    assert (
        run.feature_dim == 128
        and not run.backbone.training
        and run.checkpoint == "step-000000015.pt"
    )
    state = weights(uninterrupted)
    for name, value in run.backbone.state_dict().items():
        assert torch.equal(value, state[f"query_encoder.backbone.{name}"])


@pytest.mark.parametrize("source", ["image", "view"])
def test_several_kinds_of_negatives_resume_bit_for_bit(beton, tmp_path, source):
    changes = {
        "negatives": "texture,blur,random_image",
        "alpha": "texture=1,blur=0.5,random_image=0.25",
        "epochs": 1,
        "threads": 1,
    }
    changes |= {"texture_source": source}
    whole, stopped = (settings(beton, tmp_path / name, **changes) for name in ("whole", "stopped"))
    assert pretrain(whole).finished
    assert not pretrain(stopped, stop_after=2).finished
    assert pretrain(stopped).finished
    assert rows(tmp_path / "stopped") == rows(tmp_path / "whole")
    assert same_weights(tmp_path / "stopped", tmp_path / "whole")
    assert len(list((tmp_path / "whole/gallery").glob("0-negative-*.jpg"))) == 3


@pytest.mark.parametrize("stops", [(1,), (4, 3), (5, 5), (7, 1, 6)])
def test_resumed_equals_uninterrupted(beton, tmp_path, uninterrupted, stops):
    config = settings(beton, tmp_path / "run")
    for stop in stops:
        assert not pretrain(config, stop_after=stop).finished
    assert pretrain(config).finished
    assert rows(tmp_path / "run") == rows(uninterrupted)
    assert same_weights(tmp_path / "run", uninterrupted)


@pytest.mark.parametrize("method", ["byol", "simclr"])
def test_the_other_methods_train_and_resume(beton, tmp_path, method):
    own = {"hidden_dim": 32} if method == "byol" else {"temperature": 0.1}
    changes = {
        "method": method,
        "queue_size": None,
        "bn_splits": None,
        "epochs": 2,
        "alpha": 0.5,
        "optimizer": "lars",
        "warmup_epochs": 1,
    }
    whole, parts = (
        settings(beton, tmp_path / name, **changes, **own) for name in ("whole", "parts")
    )
    assert pretrain(whole).finished
    assert not pretrain(parts, stop_after=3).finished and not pretrain(parts, stop_after=4).finished
    assert pretrain(parts).finished
    assert len(rows(tmp_path / "whole")) == 10 and rows(tmp_path / "whole") == rows(
        tmp_path / "parts"
    )
    assert same_weights(tmp_path / "whole", tmp_path / "parts")
    first, last = (
        row["loss"] for row in (rows(tmp_path / "whole")[0], rows(tmp_path / "whole")[-1])
    )
    assert first != last and load_run(tmp_path / "parts").feature_dim == 128


OTHER_VIEWS = [
    {"order": "page"},
    {"image_size_schedule": "0:24,1:40,2:32"},
    {"augment_with": "kernel"},
]


@pytest.mark.parametrize("changes", OTHER_VIEWS, ids=["page", "sizes", "kernel"])
def test_other_orders_and_growing_views_resume_too(beton, tmp_path, changes):
    whole = settings(beton, tmp_path / "whole", **changes)
    assert pretrain(whole).finished
    config = settings(beton, tmp_path / "run", **changes)
    for stop in (4, 3):
        assert not pretrain(config, stop_after=stop).finished
    assert pretrain(config).finished
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")
    assert same_weights(tmp_path / "run", tmp_path / "whole")


def test_another_seed_is_another_run(beton, tmp_path, uninterrupted):
    pretrain(settings(beton, tmp_path / "run", seed=1, epochs=1))
    assert rows(tmp_path / "run")[0]["loss"] != rows(uninterrupted)[0]["loss"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_with_a_checkpoint(beton, tmp_path, number, monkeypatch):
    config = settings(beton, tmp_path / "run", epochs=1000)
    before = signal.getsignal(number)
    threading.Timer(3.0, os.kill, (os.getpid(), number)).start()
    result = pretrain(config)
    assert not result.finished and result.signal == number
    assert (
        checkpoint.load_newest(tmp_path / "run")[1]["step"]
        == result.step
        == rows(tmp_path / "run")[-1]["step"]
    )
    assert signal.getsignal(number) is before


def test_a_loss_that_is_not_finite_stops_before_the_optimizer_step(beton, tmp_path, monkeypatch):
    config = settings(beton, tmp_path / "run", checkpoint_every=1, log_every=2)
    states = {}

    def poisoned(self, batch, lr):
        if self.step == 7:
            batch = batch._replace(query=batch.query * float("nan"))
        if self.step >= 7:
            states[self.step] = [p.detach().clone() for p in self.method.query_encoder.parameters()]
        return original(self, batch, lr)

    original = trainer.Trainer.train_step
    monkeypatch.setattr(trainer.Trainer, "train_step", poisoned)
    kept = []
    monkeypatch.setattr(
        trainer.Trainer, "_refuse_bad_weights", _watch(trainer.Trainer._refuse_bad_weights, kept)
    )
    with pytest.raises(TrainingError, match="not finite in step 8"):
        pretrain(config)
    assert all(torch.equal(one, other) for one, other in zip(kept[-1], states[7], strict=True))
    assert checkpoint.load_newest(tmp_path / "run")[1]["step"] == 5


def _watch(method, kept):
    def watched(self):
        kept.append([p.detach().clone() for p in self.method.query_encoder.parameters()])
        return method(self)

    return watched


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "lars"},
        *(
            {"method": method, "queue_size": None, "bn_splits": None}
            for method in ("byol", "simclr")
        ),
    ],
)
def test_no_step_reads_from_the_device_between_log_lines(beton, tmp_path, monkeypatch, changes):
    """item, cpu, tolist and the like wait for a GPU: they may be called when logging, and nowhere
    else in a step."""
    calls, allowed = [], []

    def counted(name, plain):
        def call(self, *arguments):
            # On a CPU the checks of patch_shuffle's offsets and the loss's look at the lengths of
            # its rows cost nothing; on a GPU neither is done.
            asks = ("patch_shuffle.py", "info_nce_torch.py")
            # The loader's thread, which makes views on a CPU meanwhile, is no part of a step.
            here = threading.current_thread() is threading.main_thread()
            known = sys._getframe(1).f_code.co_filename.endswith(asks)
            if here and not allowed and not known:
                calls.append(name)
            return plain(self, *arguments)

        return call

    for name in ("item", "cpu", "tolist", "__float__", "__int__", "__bool__"):
        monkeypatch.setattr(torch.Tensor, name, counted(name, getattr(torch.Tensor, name)))
    log, step = trainer.Trainer._log, trainer.Trainer.train_step
    inside = []

    def stepping(self, batch, lr):
        if self.step == 0:  # the gallery of the first batch
            return step(self, batch, lr)
        inside.append(True)
        calls.clear()
        out = step(self, batch, lr)
        assert calls == []
        return out

    monkeypatch.setattr(trainer.Trainer, "train_step", stepping)
    monkeypatch.setattr(
        trainer.Trainer,
        "_log",
        lambda self, *a: (allowed.append(1), log(self, *a), allowed.clear())[1],
    )
    pretrain(settings(beton, tmp_path / "run", epochs=1, log_every=5, **changes))
    assert len(inside) == 4


def test_other_settings_do_not_go_on_from_a_checkpoint(beton, tmp_path):
    pretrain(settings(beton, tmp_path / "run", epochs=1))
    with pytest.raises(TrainingError, match=r"lr 0.12 → 0.5"):
        pretrain(settings(beton, tmp_path / "run", lr=0.5))
    with pytest.raises(TrainingError, match="already holds checkpoints"):
        pretrain(settings(beton, tmp_path / "run", resume="never"))
    # a longer run may go on
    assert pretrain(settings(beton, tmp_path / "run", epochs=2)).step == 10
    assert pretrain(settings(beton, tmp_path / "run", epochs=2)).finished


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch_size": 64}, "at least one batch"),
        ({"bn_splits": 3}, "must divide the batch, 8"),
        ({"bn_splits": 8}, "each group would hold one image"),
    ],
)
def test_settings_that_do_not_fit_the_data_are_refused(beton, tmp_path, changes, said):
    with pytest.raises(TrainingError, match=said):
        pretrain(settings(beton, tmp_path / "run", **changes))
    assert not (tmp_path / "run").exists()


def test_a_backbone_without_batch_norm_says_that_bn_does_nothing(beton, tmp_path, capsys):
    pretrain(settings(beton, tmp_path / "run", backbone="squeezenet1_1", epochs=1), stop_after=1)
    assert "squeezenet1_1 has no batch normalisation" in capsys.readouterr().out
    assert rows(tmp_path / "run", "start")[0]["batch_norms"] == 0


def test_views_of_a_size_that_the_backbone_is_not_built_for_are_refused(beton, tmp_path):
    pytest.importorskip("timm")
    changes = {"backbone": "timm:vit_tiny_patch16_224", "image_size_schedule": "0:16,2:32"}
    with pytest.raises(TrainingError, match="views of 16 px, but timm:vit_tiny_patch16_224"):
        pretrain(settings(beton, tmp_path / "run", **changes))
    assert (
        pretrain(
            settings(beton, tmp_path / "run", image_size_schedule="0:16,1:32", epochs=1),
            stop_after=1,
        ).step
        == 1
    )


def test_a_split_that_reaches_a_part_of_the_layers_is_refused(beton, tmp_path, monkeypatch):
    class Own(torch.nn.BatchNorm2d):
        pass

    plain = backbones.ResNetTiny.__init__

    def with_own_norm(self):
        plain(self)
        self.stem[1] = Own(32)

    monkeypatch.setattr(backbones.ResNetTiny, "__init__", with_own_norm)
    with pytest.raises(TrainingError, match="supports only 8 of the 9 layers"):
        pretrain(settings(beton, tmp_path / "run"))


def test_two_processes_train_and_resume(beton, tmp_path):
    """torchrun with two gloo processes; stopped by SIGTERM to the job, the same command goes on and
    ends."""
    config = settings(beton, tmp_path / "run", bn="none", bn_splits=None)
    pretrain_in_two(config)
    assert [row["step"] for row in rows(tmp_path / "run")] == list(range(1, 16))
    assert rows(tmp_path / "run", "start")[0]["processes"] == 2
    # resumed by one process at an epoch's end, with a further epoch
    assert pretrain(config.replace(epochs=4)).step == 20


@pytest.mark.gpu
def test_no_step_waits_for_the_device(beton, tmp_path):
    config = settings(beton, tmp_path / "run", device="cuda", negatives="patch")
    world = distributed.World(0, 1, torch.device("cuda", 0))
    with contextlib.ExitStack() as stack:
        run = trainer.Trainer(config, world, stack)
        run.model.train()
        batches = list(run.loader.epoch(0))
        run.train_step(batches[0], 0.1)  # compiles the kernels, writes the gallery
        run.step += 1
        torch.cuda.set_sync_debug_mode("error")
        try:
            for batch in batches[1:3]:
                run.train_step(batch, 0.1)
                run.step += 1
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_a_run_of_steps_may_end_within_an_epoch(beton, tmp_path):
    """Its schedules reach over its steps; one that is stopped goes on to the same end."""
    changes = {"steps": 7, "log_every": 2, "lr_schedule": "cosine_step"}
    for name in ("whole", "stopped"):
        config = settings(beton, tmp_path / name).replace(**changes)
        if name == "stopped":
            assert not pretrain(config, stop_after=6).finished
        assert pretrain(config).step == 7
        assert pretrain(config).finished  # nothing is left to do
        assert [row["step"] for row in rows(tmp_path / name)] == [2, 4, 6, 7]
    assert same_weights(tmp_path / "whole", tmp_path / "stopped")
    last = rows(tmp_path / "whole")[-1]
    assert last["lr"] == pytest.approx(0.12 * 0.5 * (1 + math.cos(math.pi * 6 / 7)))
    assert last["epoch"] == 1


def test_steps_of_whole_epochs_are_epochs(beton, tmp_path):
    for name, length in (("epochs", {"epochs": 2}), ("steps", {"steps": 10})):
        config = settings(beton, tmp_path / name, lr_schedule="cosine_epoch")
        pretrain(config.replace(**length))
    assert same_weights(tmp_path / "epochs", tmp_path / "steps")
    assert rows(tmp_path / "epochs") == rows(tmp_path / "steps")
