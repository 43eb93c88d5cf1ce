"""The probe on an untrained encoder, and what is said of an encoder that is at or below it
(fastneg.evaluation.untrained, fastneg.recipes.linear)."""

import json

import pytest
import torch

from fastneg.config import ConfigError, LinearConfig
from fastneg.evaluation.untrained import untrained_of, verdict, verdict_of
from fastneg.methods import METHODS
from fastneg.recipes.cli import main
from fastneg.runs import checkpoint
from fastneg.runs.load import load_run, weights_digest
from fastneg.runs.results import append_result
from helpers.encoder_runs import make_run
from helpers.tinted import make_beton


@pytest.fixture
def files(tmp_path):
    return str(make_beton(tmp_path / "train.beton", 48)), str(
        make_beton(tmp_path / "val.beton", 24, seed=1)
    )


def lines(run):
    return [json.loads(line) for line in (run / "evaluation.jsonl").read_text().splitlines()]


def probe(run, files, *flags):
    options = ["--run", str(run), "--train", files[0], "--val", files[1], "--threads", "1"]
    return main(["linear", *options, *flags])


def test_it_is_the_network_of_the_runs_first_step(tmp_path):
    run = make_run(tmp_path / "run", seed=5)
    loaded = load_run(run)
    before, state = loaded.digest, torch.get_rng_state()
    untrained = untrained_of(loaded)
    assert torch.equal(torch.get_rng_state(), state) and weights_digest(loaded.backbone) == before
    torch.manual_seed(loaded.config.seed)
    method = METHODS[loaded.config.method](loaded.config)
    assert untrained.digest == weights_digest(method.query_encoder.backbone) != before
    assert not untrained.backbone.training and untrained.checkpoint == "untrained"


@pytest.mark.parametrize("mode", ["features", "crops", "lbfgs"])
def test_the_same_probe_gives_a_line_of_its_own(tmp_path, files, capsys, mode):
    run = make_run(tmp_path / "run")
    flags = [] if mode == "lbfgs" else ["--epochs", "1"]
    assert probe(run, files, "--mode", mode, "--untrained", "on", *flags) == 0
    trained, untrained = lines(run)
    assert (trained["kind"], untrained["kind"]) == ("linear", "untrained")
    same = ("set", "path", "mode", "images", "classes", "seed")
    assert {name: trained[name] for name in same} == {name: untrained[name] for name in same}
    assert "checkpoint" not in untrained and untrained["weights"] == "before training, seed 0"
    stored = torch.load(run / "linear.pt", weights_only=True)
    assert stored["digest"] == load_run(run).digest, (
        "the classifier that is kept is the trained one's"
    )
    out = capsys.readouterr().out
    assert "on an untrained encoder" in out and ("at or below an untrained encoder" in out) == bool(
        verdict_of(run)
    )


def test_off_by_default_and_refused_with_a_share(tmp_path, files):
    run = make_run(tmp_path / "run")
    assert probe(run, files, "--mode", "features", "--epochs", "1") == 0
    assert [row["kind"] for row in lines(run)] == ["linear"] and verdict_of(run) == ""
    with pytest.raises(ConfigError, match="--untrained is on with --share 10"):
        LinearConfig("run", "a", "b", share=10.0, untrained="on")


def row(top1, low, high, **changes):
    return {
        "set": "val",
        "path": "v",
        "mode": "features",
        "top1": top1,
        "top1_interval": [low, high],
        **changes,
    }


def test_at_or_below_is_told_and_above_is_not():
    untrained = row(50.0, 46.0, 54.0)
    assert verdict(row(60.0, 56.0, 64.0), untrained) == ""
    below = verdict(row(40.0, 36.0, 44.0), untrained)
    assert below == "at or below an untrained encoder: 40.0% against 50.0% for the linear probe"
    assert verdict(row(53.0, 49.0, 57.0), untrained).endswith("; their 95% intervals overlap")
    assert verdict(row(40.0, 36.0, 44.0, path="other"), untrained) == "", "of other images"
    assert verdict(row(40.0, 36.0, 44.0), None) == "" == verdict(None, untrained)


def test_an_encoder_that_lost_everything_is_called_so_wherever_it_is_judged(
    tmp_path, files, capsys
):
    """Weights of zero, as a run that collapsed would have them: chance, against random weights' far
    above it."""
    run = make_run(tmp_path / "run")
    _, state = checkpoint.load_newest(run)
    state["method"] = {name: value * 0 for name, value in state["method"].items()}
    checkpoint.save(run, 2, state, keep=1)
    assert probe(run, files, "--mode", "lbfgs", "--untrained", "on") == 0
    assert "NOTE: step-000000002.pt is at or below an untrained encoder" in capsys.readouterr().out
    assert main(["evaluate", "--run", str(run), "--sets", f"val={files[1]}", "--threads", "1"]) == 0
    out = capsys.readouterr().out
    assert "NOTE: the encoder is at or below an untrained encoder" in out
    assert "NOTE: val: one answer takes most: 100% of the answers are a, 25% of the images" in out
    append_result(run, row(99.0, 98.0, 100.0, kind="linear"))
    assert verdict_of(run) == "", "a line of another file is not compared"
