"""One run of a study: its settings follow the arm, the seed and the flags alone."""

import json

import pytest

from fastneg.config.study import StudyConfig
from fastneg.methods import METHODS
from fastneg.recipes.presets import tiny_moco, tiny_simclr
from fastneg.recipes.study_runs import Task, settings
from fastneg.study.plan import SIZES, arms_of, size_for


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


def test_a_cache_goes_with_the_kernel(tmp_path):
    arm = arms_of("main", 10.0)[0]
    for cache, augment_with in (("none", "dali"), ("device", "kernel")):
        config = StudyConfig(out=str(tmp_path), cache=cache)
        made = settings(Task(config, SIZES["cpu"], arm, 0, threads=2))
        assert (made.cache, made.augment_with, made.threads) == (cache, augment_with, 2)
