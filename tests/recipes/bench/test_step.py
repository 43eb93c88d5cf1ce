"""The step benchmark: its plain contender is the same training, and its rows name every contender.

fastneg.recipes.bench.plain_moco is tested here as the independent truth of a whole step that it is.
"""

import contextlib
import copy

import pytest
import torch

from fastneg.config import PretrainConfig
from fastneg.kernels.info_nce import info_nce
from fastneg.methods.moco_torch import MoCo
from fastneg.recipes.bench.measuring import times_of
from fastneg.recipes.bench.plain_moco import PlainMoCo, eager_info_nce
from fastneg.recipes.bench.step import bench_data, bench_step
from fastneg.recipes.bench.step_contenders import Contender, Variant
from fastneg.recipes.presets import tiny_cpu
from fastneg.training.optim import OPTIMIZERS

SMALL = {
    "image_size": 32,
    "eval_resize": 32,
    "batch_size": 8,
    "queue_size": 16,
    "feature_dim": 16,
    "patch_min": 4,
    "patch_max": 12,
}


def test_the_plain_step_is_the_same_training(float64):
    """Losses, accuracies, weights of both encoders and the queue over several steps, from the same
    weights and batches."""
    config = tiny_cpu().replace(**SMALL, bn="none", lr=0.1)
    torch.manual_seed(0)
    ours, plain = MoCo(config), PlainMoCo(config).train()
    plain.query_encoder.load_state_dict(ours.query_encoder.state_dict())
    plain.key_encoder.load_state_dict(ours.key_encoder.state_dict())
    plain.queue.copy_(ours.queue.t())
    optimizer = OPTIMIZERS["sgd"]((p for p in ours.parameters() if p.requires_grad), config)
    for _ in range(3):
        query, key, negatives = (
            torch.randn(8, 3, 32, 32),
            torch.randn(8, 3, 32, 32),
            torch.randn(8, 2, 3, 32, 32),
        )
        # The published step moves the key encoder at its start, ours at the end of the one before:
        # the first moves nothing.
        loss, top1, top5 = plain.step(query, key, negatives)
        output = ours(query, key, negatives)
        output.loss.backward()
        optimizer.step(config.lr)
        ours.after_step(output.keys)
        assert loss == pytest.approx(output.loss.item(), rel=1e-9)
        assert top1 == pytest.approx(100 * output.stats["acc1"].item()) and top5 == pytest.approx(
            100 * output.stats["acc5"].item()
        )
        torch.testing.assert_close(plain.queue.t(), ours.queue, rtol=1e-9, atol=1e-9)
        for name, value in plain.query_encoder.named_parameters():
            torch.testing.assert_close(
                ours.query_encoder.get_parameter(name), value, rtol=1e-9, atol=1e-9, msg=name
            )


def test_the_plain_step_refuses_a_batch_that_its_enqueue_cannot_take():
    with pytest.raises(ValueError, match="multiple of batch_size"):
        PlainMoCo(PretrainConfig(backbone="resnet18", queue_size=100, batch_size=32))


def test_the_eager_loss_is_the_fused_one():
    query, positive, queue = (
        torch.nn.functional.normalize(torch.randn(size, 16), dim=1) for size in (8, 8, 40)
    )
    extras = torch.nn.functional.normalize(torch.randn(8, 2, 16), dim=2)
    options = {
        "temperature": 0.2,
        "extra_negatives": extras,
        "extra_scale": 2.0,
        "return_stats": True,
    }
    for one, other in zip(
        eager_info_nce(query, positive, queue, **options),
        info_nce(query, positive, queue, **options),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_a_ready_batch_takes_no_loader(tmp_path, monkeypatch):
    """Neither DALI nor TensorBoard nor an image of the file is touched."""
    monkeypatch.setattr("fastneg.data.load.feeding.FeedingLoader.__init__", None)
    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter", None)
    config = tiny_cpu().replace(**SMALL)
    data = bench_data(tmp_path, 8, 32, "cpu")
    with contextlib.ExitStack() as stack:
        step = Contender(config, Variant(), tmp_path / "run", data, stack, ready=True)
        batch, before = step.batch, step.trainer.method.queue.clone()
        step()
        assert step.trainer.step == 2 and not torch.equal(step.trainer.method.queue, before)
        assert step.batch is batch and batch.query.shape == batch.key.shape == (8, 3, 32, 32)
        assert batch.query.is_contiguous(memory_format=torch.channels_last)
        assert not torch.equal(batch.query, batch.key)


def test_rows_name_every_contender(tmp_path):
    rows = list(bench_step([tiny_cpu().replace(**SMALL)], rounds=1, images=40))
    steps = {row["contender"]: row for row in rows if row["measured"] == "step"}
    assert {
        "fastneg",
        "plain",
        "without_negatives",
        "without_fused_loss",
        "without_channels_last",
    } <= set(steps)
    for row in steps.values():
        assert row["samples_per_s"] == pytest.approx(1000 * 8 / row["ms_median"])
        assert row["times_of_fastneg"] == pytest.approx(
            row["ms_median"] / steps["fastneg"]["ms_median"]
        )
    assert steps["fastneg"]["flops_utilisation"] > 0
    epochs = {row["contender"]: row for row in rows if row["measured"] == "epoch"}
    assert list(epochs) == ["fastneg", "with_loader_process", "ready_batches"]
    for row in epochs.values():
        assert 0 <= row["data_wait_share"] <= 1 and row["samples_per_s"] > 0
        assert row["cpu_ms_per_sample"] > 0 and row["share_of_step_alone"] > 0
    assert epochs["ready_batches"]["share_of_step_alone"] == 1.0


def test_a_drift_of_the_machine_cancels_from_ratios():
    assert times_of([2.0, 40.0, 9.0], [1.0, 20.0, 3.0]) == 2.0  # the medians alone would say 3


def test_a_variant_changes_what_it_says(tmp_path, monkeypatch):
    """Each substitute is called by its own contender only."""
    from fastneg.recipes.bench import step_contenders as module

    called = {"loss": 0, "update": 0}

    def counted(name, function):
        def call(*args, **options):
            called[name] += 1
            return function(*args, **options)

        return call

    monkeypatch.setattr(module, "eager_info_nce", counted("loss", module.eager_info_nce))
    monkeypatch.setattr(
        module, "reallocating_update", counted("update", module.reallocating_update)
    )
    list(
        bench_step(
            [tiny_cpu().replace(**SMALL)],
            rounds=1,
            images=24,
            only=("fastneg", "without_fused_loss"),
        )
    )
    assert called == {"loss": 2, "update": 0}  # a warm-up and a round
    before = copy.copy(called)
    list(
        bench_step(
            [tiny_cpu().replace(**SMALL)],
            rounds=1,
            images=24,
            only=("fastneg", "without_foreach_momentum"),
        )
    )
    assert called["loss"] == before["loss"] and called["update"] == 2
