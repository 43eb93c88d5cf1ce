"""Weights & Biases through a stand-in of its module: what is sent, and that nothing is without
it."""

import json
import sys
import types

import pytest

from fastneg.config import ConfigError
from fastneg.runs.log import RunLog


class Stand:
    """What we call of wandb, with a note of each call."""

    def __init__(self):
        self.inits, self.logged, self.defined, self.finished = [], [], [], 0

    def module(self):
        module = types.ModuleType("wandb")
        module.init = lambda **given: self.inits.append(given) or self
        module.Histogram = lambda np_histogram: ("histogram", *np_histogram)
        return module

    def define_metric(self, name, step_metric):
        self.defined.append((name, step_metric))

    def log(self, figures):
        self.logged.append(figures)

    def finish(self):
        self.finished += 1


def test_figures_and_histograms_are_sent_and_the_id_stays(tmp_path, monkeypatch):
    stand = Stand()
    monkeypatch.setitem(sys.modules, "wandb", stand.module())
    for _ in range(2):
        log = RunLog(tmp_path / "run", 10, wandb="pets", settings={"lr": 0.1})
        log.row(
            "train",
            5,
            {"epoch": 0, "loss": 1.5, "acc1": 0.09, "images_per_s": 10.0, "data_wait_share": 0.5},
        )
        log.row("knn", 5, {"top1": 40.0})
        log.histograms(5, {"positive": [1.0, 2.0]}, [-1.0, 0.0, 1.0])
        log.close()
    first, second = stand.inits
    assert (
        first == second
        and first["project"] == "pets"
        and first["name"] == "run"
        and first["config"] == {"lr": 0.1}
    )
    assert first["resume"] == "allow" and first["id"] == (tmp_path / "run" / "wandb-id").read_text()
    assert stand.defined[0] == ("*", "step") and stand.finished == 2
    assert stand.logged[:3] == [
        {
            "step": 5,
            "train/epoch": 0,
            "train/loss": 1.5,
            "train/acc1": 0.09,
            "train/images_per_s": 10.0,
            "train/data_wait_share": 0.5,
        },
        {"step": 5, "knn/top1": 40.0},
        {"step": 5, "similarity/positive": ("histogram", [1.0, 2.0], [-1.0, 0.0, 1.0])},
    ]
    kinds = [
        json.loads(line)["kind"]
        for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    assert kinds == ["train", "knn", "similarities"] * 2


def test_without_wandb_the_extra_is_named_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match=r"pip install 'fastneg\[wandb\]'"):
        RunLog(tmp_path / "run", 10, wandb="pets", settings={})
    assert not (tmp_path / "run").exists()


def test_without_a_project_it_is_not_even_imported(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    RunLog(tmp_path / "run", 10).close()
