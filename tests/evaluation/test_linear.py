"""The linear probe: against its published schedule, scikit-learn and separable data; the encoder
stays as it was; the last epoch counts."""

import json

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from fastneg.config import ConfigError, LinearConfig
from fastneg.data.beton.reader import BetonReader
from fastneg.errors import CheckpointError
from fastneg.evaluation import linear as module
from fastneg.evaluation.accuracy import accuracy
from fastneg.evaluation.features import features_of
from fastneg.evaluation.linear import (
    LinearClassifier,
    learning_rate,
    load_linear,
    save_linear,
    train_on_crops,
    train_on_features,
)
from fastneg.recipes.linear import run_linear
from fastneg.runs.load import load_run, weights_digest
from helpers.encoder_runs import make_run, probe
from helpers.feature_blobs import blobs
from helpers.tinted import SIZE, make_beton


def test_learning_rate_is_the_published_schedule():
    rates = [learning_rate(10.0, epoch, 60) for epoch in range(60)]
    assert rates == pytest.approx([10.0] * 30 + [1.0] * 10 + [0.1] * 10 + [0.01] * 10)
    assert [learning_rate(1.0, epoch, 6) for epoch in range(6)] == pytest.approx(
        [1, 1, 1, 0.1, 0.01, 0.001]
    )
    assert [learning_rate(1.0, epoch, 1) for epoch in range(1)] == [1.0]


@pytest.mark.parametrize(("width", "scale"), [(128, 1.0), (2048, 1.0), (128, 1e-3), (128, 1e3)])
def test_separable_features_are_separated(width, scale):
    features, labels = blobs(600, width, 10, 2.0, scale=scale)
    head = train_on_features(features, labels, 10, epochs=12)
    assert accuracy(head.logits(features), labels).top1 == 100.0


def test_the_weights_apply_to_raw_features():
    """Folding: the head on raw features gives what the same training gives on features standardised
    beforehand."""
    features, labels = blobs(300, 16, 3, 0.5)
    features = features * torch.logspace(-2, 2, 16) + 5
    standard = (features.double() - features.double().mean(0)) / features.double().std(
        0, correction=0
    )
    raw = train_on_features(features, labels, 3, epochs=4)
    plain = train_on_features(standard.float(), labels, 3, epochs=4)
    torch.testing.assert_close(
        raw.logits(features), plain.logits(standard.float()), atol=2e-3, rtol=2e-3
    )


def test_it_agrees_with_logistic_regression():
    """Overlapping classes, so that a unique optimum exists: SGD must come to the loss that L-BFGS
    finds."""
    features, labels = blobs(2000, 16, 5, 0.4)
    held, held_labels = features[1500:], labels[1500:]
    features, labels = features[:1500], labels[:1500]
    head = train_on_features(features, labels, 5, epochs=60)
    truth = LogisticRegression(C=1e6, max_iter=2000).fit(features.numpy(), labels.numpy())
    expected = torch.from_numpy(truth.decision_function(features.numpy()))
    loss, best = (
        nn.functional.cross_entropy(logits.double(), labels)
        for logits in (head.logits(features), expected)
    )
    assert best <= loss < best + 0.003
    same = head.logits(held).argmax(1) == torch.from_numpy(truth.predict(held.numpy()))
    assert same.float().mean() > 0.97
    assert len(held_labels) == 500


def test_a_feature_that_never_varies_has_no_weight():
    features, labels = blobs(200, 8, 4, 2.0)
    features[:, 3] = 0.7
    head = train_on_features(features, labels, 4, epochs=3)
    assert torch.equal(head.weight[:, 3], torch.zeros(4)) and head.weight.isfinite().all()


def test_weight_decay_shrinks_and_the_seed_decides_the_order():
    features, labels = blobs(200, 8, 4, 0.5)
    free, held = (
        train_on_features(features, labels, 4, epochs=5, weight_decay=decay)
        for decay in (0.0, 0.05)
    )
    assert held.weight.norm() < 0.5 * free.weight.norm()
    assert torch.equal(free.weight, train_on_features(features, labels, 4, epochs=5).weight)
    assert not torch.equal(
        free.weight, train_on_features(features, labels, 4, epochs=5, seed=1).weight
    )


def test_a_loss_that_is_no_number_stops_the_job():
    features, labels = blobs(200, 8, 4, 0.5)
    with pytest.raises(ConfigError, match="lower --lr"):
        train_on_features(features, labels, 4, epochs=5, lr=1e38)


@pytest.fixture
def parts(tmp_path):
    run = make_run(tmp_path / "run")
    with BetonReader(make_beton(tmp_path / "train.beton", 24)) as reader:
        yield run, load_run(run), reader


def test_crops_follow_the_published_protocol(parts, monkeypatch):
    """The same crops through a plain PyTorch loop give the same weights; the encoder keeps every
    weight and statistic."""
    _, loaded, reader = parts
    labels = torch.from_numpy(reader.labels)
    before = weights_digest(loaded.backbone)
    rates, seen = [], []
    loader_class = module.CropLoader

    class Recorded(loader_class):
        def epoch(self, epoch):
            for batch in super().epoch(epoch):
                seen.append(batch)
                yield batch

    monkeypatch.setattr(module, "CropLoader", Recorded)
    said = []
    head = train_on_crops(
        loaded, reader, labels, 4, epochs=6, lr=0.5, batch_size=10, threads=1, report=said.append
    )
    assert weights_digest(loaded.backbone) == before and len(said) == 6

    assert [len(batch.index) for batch in seen] == [10, 10, 4] * 6
    assert all(
        sorted(torch.cat([b.index for b in seen[3 * e : 3 * e + 3]]).tolist()) == list(range(24))
        for e in range(6)
    )
    assert seen[0].images.shape == (10, 3, SIZE, SIZE)
    assert not torch.equal(seen[0].images, seen[3].images)
    plain = nn.Linear(128, 4)
    nn.init.zeros_(plain.weight), nn.init.zeros_(plain.bias)
    optimizer = torch.optim.SGD(plain.parameters(), 0.5, momentum=0.9, weight_decay=0)
    for step, batch in enumerate(seen):
        optimizer.param_groups[0]["lr"] = [0.5, 0.5, 0.5, 0.05, 0.005, 0.0005][step // 3]
        rates.append(optimizer.param_groups[0]["lr"])
        with torch.no_grad():
            features = loaded.backbone(batch.images)
        optimizer.zero_grad()
        nn.functional.cross_entropy(
            plain(features), torch.tensor([i % 4 for i in batch.index.tolist()])
        ).backward()
        optimizer.step()
    torch.testing.assert_close(head.weight, plain.weight, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(head.bias, plain.bias, atol=1e-5, rtol=1e-4)


def test_an_encoder_that_changed_is_found(parts, monkeypatch):
    _, loaded, reader = parts
    real = module.embed

    def careless(backbone, images, autocast):
        backbone.train()
        return real(backbone, images, autocast)

    monkeypatch.setattr(module, "embed", careless)
    with pytest.raises(AssertionError, match="encoder changed"):
        train_on_crops(
            loaded,
            reader,
            torch.from_numpy(reader.labels),
            4,
            epochs=1,
            batch_size=12,
            threads=1,
            report=lambda text: None,
        )


def test_the_classifier_is_kept_with_what_it_belongs_to(parts):
    run, loaded, _ = parts
    head = LinearClassifier(128, 3, ["x", "y", "z"])
    nn.init.normal_(head.weight)
    save_linear(run, head, loaded, mode="features")
    again = load_linear(run, loaded)
    assert (
        torch.equal(again.weight, head.weight)
        and again.classes == ["x", "y", "z"]
        and not list(run.glob(".*"))
    )
    forward = loaded.backbone.forward
    loaded.backbone.forward = lambda images: 2 * forward(images)
    with pytest.raises(ConfigError, match="resnet_tiny computes something else with its weights"):
        load_linear(run, loaded)
    loaded.backbone.forward = forward
    make_run(run, seed=3, step=2)
    with pytest.raises(
        ConfigError, match=r"step-000000001.pt, the newest checkpoint is step-000000002.pt"
    ):
        load_linear(run, load_run(run))
    (run / "linear.pt").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"linear\.pt cannot be read"):
        load_linear(run, loaded)
    (run / "linear.pt").unlink()
    with pytest.raises(ConfigError, match="run fastneg linear"):
        load_linear(run, loaded)


@pytest.mark.parametrize("mode", ["features", "crops"])
def test_the_recipe_reports_the_last_epoch_by_class_name(tmp_path, mode, capsys):
    run = make_run(tmp_path / "run", probe=mode)
    train = make_beton(tmp_path / "train.beton", 48)
    val = make_beton(tmp_path / "val.beton", 20, classes=("d", "a", "unknown", "c"), seed=1)
    config = LinearConfig(
        str(run), str(train), str(val), epochs=24, lr=1.0, batch_size=16, device="cpu", threads=1
    )
    assert run_linear(config) == 0
    row = json.loads((run / "evaluation.jsonl").read_text())
    assert (row["kind"], row["set"], row["mode"], row["epochs"], row["images"], row["classes"]) == (
        "linear",
        "val",
        mode,
        24,
        15,
        3,
    )
    assert row["top1"] > 90, "joined by number only few would fit"
    # What was stored after training is what was reported: nothing picks a better epoch.
    loaded = load_run(run)
    with BetonReader(val) as reader:
        features = features_of(run, loaded, reader, threads=1).features
    labels = torch.tensor([[3, 0, -1, 2][i % 4] for i in range(20)])
    known = labels >= 0
    right = load_linear(run, loaded).logits(features).argmax(1)[known] == labels[known]
    assert row["top1"] == pytest.approx(100 * right.float().mean().item())
    assert "epoch 24 of 24" in capsys.readouterr().out


def test_an_epoch_that_spoils_the_classifier_is_reported_as_it_is(tmp_path, monkeypatch):
    """The last epoch stands even where an earlier one was better on the validation set."""
    run = make_run(tmp_path / "run")
    train = make_beton(tmp_path / "train.beton", 48)
    real = module.learning_rate
    # The last of four epochs climbs away from the optimum.
    monkeypatch.setattr(
        module,
        "learning_rate",
        lambda base, epoch, epochs: -5.0 if epoch == epochs - 1 else real(base, epoch, epochs),
    )
    probe(run, train, epochs=4)
    assert json.loads((run / "evaluation.jsonl").read_text())["top1"] < 50
