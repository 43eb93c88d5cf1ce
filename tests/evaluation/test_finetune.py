"""Fine-tuning: it learns, repeats by its seed, leaves the run as it was, and reports the last epoch
(fastneg.recipes.finetune, fastneg.evaluation.sgd)."""

import dataclasses
import json

import pytest
import torch

from fastneg.config import ConfigError
from fastneg.data import BetonReader
from fastneg.evaluation import finetune
from fastneg.evaluation.finetune import fine_tune, fine_tuned_logits
from fastneg.evaluation.label_splits import few_shot
from fastneg.models.backbones import build_backbone
from fastneg.recipes.cli import main
from fastneg.runs.load import load_run, weights_digest
from fastneg.runs.results import key_of, misfit
from helpers.encoder_runs import make_run, silent
from helpers.tinted import make_beton

SETTINGS = {
    "epochs": 6,
    "lr": 0.05,
    "head_lr": 0.2,
    "batch_size": 12,
    "weight_decay": 0.0,
    "threads": 1,
    "report": silent,
}


@pytest.fixture
def parts(tmp_path):
    run = make_run(tmp_path / "run")
    with BetonReader(make_beton(tmp_path / "data.beton", count=48)) as reader:
        yield load_run(run), reader, torch.as_tensor(reader.labels)


def test_it_learns_and_the_runs_encoder_stays(parts):
    loaded, reader, labels = parts
    backbone, head = fine_tune(loaded, reader, labels, 4, **SETTINGS)
    logits, index, skipped = fine_tuned_logits(backbone, head, loaded, reader, threads=1)
    assert (
        (logits.argmax(1) == labels).float().mean() > 0.9
        and index.tolist() == list(range(48))
        and skipped == 0
    )
    assert weights_digest(loaded.backbone) == loaded.digest != weights_digest(backbone)
    assert not loaded.backbone.training and not any(
        parameter.requires_grad for parameter in loaded.backbone.parameters()
    )


def test_the_seed_decides(parts):
    loaded, reader, labels = parts
    one, same, other = (
        fine_tune(loaded, reader, labels, 4, **{**SETTINGS, "epochs": 1}, seed=seed)[0]
        for seed in (0, 0, 1)
    )
    assert weights_digest(one) == weights_digest(same) != weights_digest(other)


def test_a_step_is_sgd_on_both(parts):
    """With every image in one batch, one epoch is one step down the gradient of the cross-entropy
    from a classifier of zeros."""
    loaded, reader, labels = parts
    settings = {**SETTINGS, "epochs": 1, "batch_size": 48, "lr": 1e-9, "head_lr": 0.5}
    _, head = fine_tune(loaded, reader, labels, 4, **settings)
    # From zeros the softmax is even, so the gradient of the bias is 1/4 less the share of the
    # class, here 1/4: it stays where it was.
    torch.testing.assert_close(head.bias, torch.zeros(4), rtol=0, atol=1e-6)
    assert head.weight.abs().max() > 1e-3


def test_a_share_of_the_labels_trains_on_its_images_alone(parts, monkeypatch):
    """Labels of the others are wrong, and nothing is seen of them: the same weights as with right
    ones."""
    loaded, reader, labels = parts
    rows = few_shot(labels, 25, seed=0)
    seen, real = [], finetune.CropLoader.epoch

    def recorded(self, epoch):
        for batch in real(self, epoch):
            seen.append(batch.index)
            yield batch

    monkeypatch.setattr(finetune.CropLoader, "epoch", recorded)
    wrong = torch.full_like(labels, 3)
    wrong[rows] = labels[rows]
    settings = {**SETTINGS, "epochs": 2, "batch_size": 8, "samples": rows}
    one, other = (fine_tune(loaded, reader, given, 4, **settings)[0] for given in (labels, wrong))
    assert weights_digest(one) == weights_digest(other)
    assert [len(index) for index in seen] == [8, 4] * 4 and sorted(
        torch.cat(seen[:2]).tolist()
    ) == rows.tolist()


def test_a_last_batch_of_one_image_is_passed_over(parts):
    """ResNet-18 ends in one pixel for views of 32: batch normalisation then has no statistics of a
    single image."""
    loaded, reader, labels = parts
    backbone, width = build_backbone("resnet18")
    one = dataclasses.replace(loaded, backbone=backbone.eval(), feature_dim=width)
    settings = {**SETTINGS, "epochs": 1, "batch_size": 4, "lr": 1e-3}
    trained, _ = fine_tune(one, reader, labels, 4, **settings, samples=[0, 1, 2, 3, 4])
    assert weights_digest(trained) != weights_digest(backbone)
    for refused in ({"samples": [3]}, {"batch_size": 1}):
        with pytest.raises(ConfigError, match="over two or more"):
            fine_tune(one, reader, labels, 4, **{**settings, **refused})


def test_a_loss_that_is_lost_is_said_so(parts):
    loaded, reader, labels = parts
    with pytest.raises(ConfigError, match="lower --lr"):
        fine_tune(loaded, reader, labels, 4, **{**SETTINGS, "lr": 1e9, "head_lr": 1e9})


def test_from_the_command_line(tmp_path, capsys):
    run, data = make_run(tmp_path / "run"), make_beton(tmp_path / "data.beton", count=24)
    arguments = [
        "finetune",
        "--run",
        str(run),
        "--train",
        str(data),
        "--val",
        str(data),
        "--device",
        "cpu",
        "--threads",
        "1",
    ]
    assert main([*arguments, "--epochs", "2", "--batch_size", "12"]) == 0
    assert "Fine-tuned, epoch 2 of 2: top-1" in capsys.readouterr().out
    assert (
        main([*arguments, "--epochs", "1", "--batch_size", "5", "--share", "10", "--seed", "1"])
        == 0
    )
    assert "Fine-tuned on 10% of the labels, epoch 1 of 1: top-1" in capsys.readouterr().out
    row, few = (json.loads(line) for line in (run / "evaluation.jsonl").read_text().splitlines())
    assert (few["kind"], few["share"], few["train_images"], few["images"]) == (
        "few_shot_finetune",
        10,
        4,
        24,
    ) and misfit(few) is None
    assert key_of(few) == ("few_shot_finetune 10", "val")
    assert (
        row["kind"] == "finetune"
        and row["epochs"] == 2
        and row["images"] == 24
        and len(row["top1_interval"]) == 2
    )
    assert not (run / "linear.pt").exists()
