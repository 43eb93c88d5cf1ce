"""One run of a study: its settings follow the arm, the seed and the flags alone."""

import json
from pathlib import Path

import pytest

from fastneg.config.study import StudyConfig
from fastneg.errors import BusyError
from fastneg.methods import METHODS
from fastneg.recipes import study_runs
from fastneg.recipes.presets import tiny_moco, tiny_simclr
from fastneg.recipes.study_runs import Task, settings
from fastneg.study.plan import SIZES, arms_of, size_for
from fastneg.training.trainer import Result


@pytest.mark.parametrize("method", ["simclr", "moco"])
def test_arms_differ_in_their_negatives_alone(tmp_path, method):
    config = StudyConfig(out=str(tmp_path), method=method)
    made = [
        settings(Task(config, SIZES["tiny"], arm, 3)).as_dict() for arm in arms_of("main", 12.5)
    ]
    differing = {name for name in made[0] if len({json.dumps(each[name]) for each in made}) > 1}
    # the plain arm has a dose too, at which negatives are measured, not trained on
    assert differing == {"out", "negatives", "alpha", "dose"}
    assert [each["dose"] for each in made] == [12.5, 12.5, 12.5, 15.0]
    assert {each["seed"] for each in made} == {3}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("method", ["simclr", "moco"])
@pytest.mark.parametrize("stage", ["dose", "main", "explore"])
def test_the_settings_of_every_arm_can_be(tmp_path, size, method, stage):
    config = StudyConfig(out=str(tmp_path), method=method, size=size, stage=stage)
    plan = size_for(size, method)
    for arm in arms_of(stage, 10.0, plan, METHODS[method].queue):
        made = settings(Task(config, plan, arm, 0))
        length = made.epochs if plan.steps is None else made.steps
        assert length == round((plan.steps or plan.epochs) * arm.length)
        assert made.batch_size == plan.batch_size
        assert made.data == str(tmp_path / "data" / "train.beton")


@pytest.mark.parametrize("preset", [tiny_simclr, tiny_moco])
def test_the_plain_arm_is_the_preset_that_passes_the_gate(tmp_path, preset):
    known = preset()
    config = StudyConfig(out=str(tmp_path), method=known.method, cache="device")
    arm = arms_of("main", 12.5)[0]
    made = settings(Task(config, size_for("cpu", known.method), arm, 1)).as_dict()
    own = {"data", "out", "seed", "threads", "checkpoint_every", "keep_checkpoints", "log_every"}
    chosen = {"precision", "fused_bn", "alpha", "dose", "device"}  # what a CPU takes anyway
    differing = {name for name, value in known.as_dict().items() if made[name] != value}
    assert differing <= own | chosen


def task_of(folder):
    return Task(
        StudyConfig(out=str(folder), size="tiny"), SIZES["tiny"], arms_of("main", 1.0)[0], 0
    )


def test_a_run_that_another_process_trains_is_left_to_it(tmp_path, monkeypatch):
    """After a while: what a killed study left ends soon."""
    tried = []

    def held(config):
        tried.append(config.out)
        raise BusyError("another training runs there")

    monkeypatch.setattr(study_runs, "pretrain", held)
    monkeypatch.setattr(study_runs, "PATIENCE_S", 0.3)
    assert study_runs.train_and_evaluate(task_of(tmp_path)) == (None, None)
    assert len(tried) > 1


def test_the_seconds_of_several_calls_are_those_of_all_steps(tmp_path, monkeypatch):
    task, found = task_of(tmp_path), {}
    run = Path(settings(task).out)
    run.mkdir(parents=True)
    rows = [{"step": step, "step_ms": ms} for step, ms in ((10, 100.0), (20, 300.0), (25, 1000.0))]
    lines = [{"kind": "start", "step": 0, "total_steps": 25}]
    lines += [{"kind": "train", **row} for row in rows]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    finished = Result(run, 25, finished=True)
    monkeypatch.setattr(study_runs, "pretrain", lambda config: finished)
    monkeypatch.setattr(study_runs, "_evaluation", lambda *_: ())
    monkeypatch.setattr(study_runs, "_second_probe", lambda *_: {})
    monkeypatch.setattr(study_runs, "_row", lambda *values: found.update(values[3]) or values[2])
    assert study_runs.train_and_evaluate(task) == (25, None)
    assert found["train_seconds"] == pytest.approx(1.0 + 3.0 + 5.0)
    assert 9.0 <= found["seconds"] < 10.0


def test_a_cache_goes_with_the_kernel(tmp_path):
    arm = arms_of("main", 10.0)[0]
    for cache, augment_with in (("none", "dali"), ("device", "kernel")):
        config = StudyConfig(out=str(tmp_path), cache=cache)
        made = settings(Task(config, SIZES["cpu"], arm, 0, threads=2))
        assert (made.cache, made.augment_with, made.threads) == (cache, augment_with, 2)
