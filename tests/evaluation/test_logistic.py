"""The L-BFGS probe: against scikit-learn, on separable features, its sweep on training images
alone; few-shot subsets."""

import json

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from fastneg.config import ConfigError, LinearConfig
from fastneg.evaluation.accuracy import accuracy
from fastneg.evaluation.linear import load_linear, standardisation
from fastneg.evaluation.logistic import PENALTIES, fit_on_features
from fastneg.recipes.linear import run_linear
from fastneg.runs.load import load_run
from helpers.encoder_runs import make_run
from helpers.feature_blobs import blobs
from helpers.tinted import make_beton


@pytest.mark.parametrize("weight_decay", [1e-2, 1e-4])
def test_it_agrees_with_logistic_regression_within_a_fifth_of_a_point(weight_decay):
    features, labels = blobs(8000, 32, 10, 0.35)
    test, truth = features[3000:], labels[3000:]
    features, labels = features[:3000], labels[:3000]
    ours = fit_on_features(features, labels, 10, weight_decay=weight_decay).head
    mean, scale = standardisation(features)
    standard = lambda rows: ((rows.double() - mean) * scale).numpy()
    # scikit-learn minimises C × the sum of the losses + |W|² / 2.
    theirs = LogisticRegression(C=1 / (weight_decay * 3000), max_iter=5000, tol=1e-8).fit(
        standard(features), labels.numpy()
    )
    expected = 100 * theirs.score(standard(test), truth.numpy())
    assert (
        accuracy(ours.logits(test), truth).top1 == pytest.approx(expected, abs=0.2)
        and 40 < expected < 99
    )
    agree = ours.logits(test).argmax(1) == torch.from_numpy(theirs.predict(standard(test)))
    assert agree.float().mean() > 0.998
    logits, reference = (
        ours.logits(test).double().log_softmax(1),
        torch.from_numpy(theirs.predict_log_proba(standard(test))),
    )
    torch.testing.assert_close(logits, reference, atol=0.02, rtol=0.01)


@pytest.mark.parametrize(("width", "scale"), [(64, 1.0), (512, 1e-3), (64, 1e3)])
def test_separable_features_are_separated(width, scale):
    features, labels = blobs(400, width, 10, 2.0, scale=scale)
    fitted = fit_on_features(features, labels, 10)
    assert accuracy(fitted.head.logits(features), labels).top1 == 100.0 and list(
        fitted.sweep
    ) == list(PENALTIES)


def test_the_sweep_takes_the_penalty_that_serves_held_out_images():
    """A fifth of the labels is wrong, and there are many features without meaning: a weak penalty
    learns them by heart."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(2400) % 2
    features = torch.randn(2400, 200, generator=generator)
    features[:, :20] += labels[:, None] * 1.0
    wrong = torch.where(torch.rand(2400, generator=generator) < 0.2, 1 - labels, labels)
    fitted = fit_on_features(features[:400], wrong[:400], 2, seed=1)
    assert (
        fitted.weight_decay == max(fitted.sweep, key=fitted.sweep.get)
        and fitted.weight_decay > 1e-6
    )
    weak = fit_on_features(features[:400], wrong[:400], 2, weight_decay=1e-8)
    assert weak.sweep == {}
    chosen, other = (
        accuracy(each.head.logits(features[400:]), labels[400:]).top1 for each in (fitted, weak)
    )
    assert chosen > other + 3


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(ConfigError, match="None of 3 classes has two"):
        fit_on_features(torch.randn(3, 4), torch.arange(3), 3)
    with pytest.raises(ConfigError, match="not all finite"):
        fit_on_features(torch.full((4, 4), float("nan")), torch.arange(4) % 2, 2)


@pytest.fixture
def files(tmp_path):
    run = make_run(tmp_path / "run")
    train = make_beton(tmp_path / "train.beton", 80)
    val = make_beton(tmp_path / "val.beton", 20, classes=("d", "a", "unknown", "c"), seed=1)
    return run, lambda **options: LinearConfig(
        str(run), str(train), str(val), device="cpu", threads=1, **options
    )


def test_the_recipe_trains_by_lbfgs_and_few_shot(files, capsys):
    run, config = files
    assert run_linear(config(mode="lbfgs")) == 0
    head = load_linear(run, load_run(run))
    assert run_linear(config(share=10)) == 0
    linear, few = (json.loads(line) for line in (run / "evaluation.jsonl").read_text().splitlines())
    assert (linear["kind"], linear["mode"], linear["images"]) == ("linear", "lbfgs", 15) and linear[
        "top1"
    ] > 90
    assert linear["weight_decay"] in PENALTIES and len(linear["sweep"]) == len(PENALTIES)
    assert (few["kind"], few["share"], few["train_images"]) == ("few_shot", 10, 8) and few[
        "top1"
    ] > 50
    assert torch.equal(head.weight, load_linear(run, load_run(run)).weight), (
        "a few-shot probe does not take the classifier's place"
    )
    printed = capsys.readouterr().out
    assert "held-out training images" in printed and "10% of the labels" in printed
    assert run_linear(config(share=25, mode="crops", epochs=2, lr=1.0, batch_size=12)) == 0
    crops = json.loads((run / "evaluation.jsonl").read_text().splitlines()[-1])
    assert (crops["kind"], crops["mode"], crops["train_images"]) == ("few_shot", "crops", 20)
    assert torch.equal(head.weight, load_linear(run, load_run(run)).weight)


@pytest.mark.parametrize("mode", ["lbfgs", "features"])
def test_the_validation_set_changes_nothing_but_the_figure(files, tmp_path, mode):
    run, config = files
    other = make_beton(tmp_path / "other.beton", 8, classes=("b", "a"), seed=7)
    options = {"mode": mode} if mode == "lbfgs" else {"mode": mode, "epochs": 3}
    heads = []
    for val in (config().val, str(other)):
        run_linear(config(**options).replace(val=val))
        heads.append(load_linear(run, load_run(run)))
    assert torch.equal(heads[0].weight, heads[1].weight) and torch.equal(
        heads[0].bias, heads[1].bias
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mode": "lbfgs", "epochs": 3}, "--epochs has no effect"),
        ({"mode": "lbfgs", "lr": 0.1}, "--lr has no effect"),
        ({"mode": "lbfgs", "batch_size": 8}, "--batch_size has no effect"),
    ],
)
def test_an_option_without_effect_is_refused(files, options, said):
    _, config = files
    with pytest.raises(ConfigError, match=said):
        run_linear(config(**options))
