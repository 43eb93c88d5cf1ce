"""The arms of the demo: paired settings, how far they are, and what becomes of them at a stop."""

import json
import re
import threading

import pytest

from fastneg.config import DemoConfig
from fastneg.recipes import demo_arms
from fastneg.recipes.demo import settings_of
from fastneg.recipes.demo_arms import (
    UNTRAINED,
    arms_of,
    measure,
    progress_of,
    run_arms,
    tell_progress,
)
from fastneg.training.trainer import Result


@pytest.fixture
def arms(tmp_path):
    return arms_of(tmp_path, settings_of(DemoConfig(out=str(tmp_path), size="tiny", seed=3)))


def test_the_arms_differ_in_their_negatives_and_share_the_cores(arms, tmp_path, monkeypatch):
    plain, patch, untrained = arms
    assert [arm.name for arm in arms] == ["none", "patch", UNTRAINED]
    assert (
        plain.settings.replace(out=patch.settings.out, negatives="patch", dose=patch.settings.dose)
        == patch.settings
    )
    assert plain.settings.seed == 3 and untrained.settings.backbone == plain.settings.backbone
    for cores, threads in ((1, 1), (2, 1), (8, 4)):
        monkeypatch.setattr(demo_arms, "default_workers", lambda cores=cores: cores)
        made = arms_of(tmp_path, settings_of(DemoConfig(out=str(tmp_path))))
        assert {arm.threads for arm in made} == {threads}
        assert made[0].settings.threads == threads


def log(arm, *steps, total=12):
    arm.run.mkdir(exist_ok=True)
    rows = [{"kind": "start", "step": 0, "total_steps": total}]
    rows += [{"kind": "train", "step": step} for step in steps]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (arm.run / "metrics.jsonl").write_text(text + '{"kind": "train", "st')  # being written


def test_progress_is_read_from_the_logs(arms):
    assert progress_of(arms[0]) == (0, 0)
    log(arms[0])
    assert progress_of(arms[0]) == (0, 12)
    log(arms[0], 4, 7)
    assert progress_of(arms[0]) == (7, 12)


def test_progress_is_told_in_parts_until_the_end(arms, monkeypatch):
    """Each look finds another state; what has not changed by a tenth is not told."""
    states = [(), (3,), (3,), (12,)]
    said, ended = [], threading.Event()

    class Looks:
        def wait(self, seconds):
            if not states:
                return True
            for arm in arms[:2]:
                log(arm, *states[0])
            states.pop(0)
            return ended.is_set()

    tell_progress(arms, Looks(), said.append)
    assert len(said) == 2
    assert re.fullmatch(r"steps: none 3 of 12, patch 3 of 12; \d+ s of training left", said[0])
    assert said[1] == "steps: none 12 of 12, patch 12 of 12; probes and test sets follow"


@pytest.mark.parametrize("cores", [1, 2])
def test_a_stop_is_passed_on_and_nothing_is_shared(arms, monkeypatch, cores):
    asked = {}

    def run_all(work, tasks, jobs, threads):
        asked.update(jobs=jobs, threads=threads)
        yield tasks[0], (0, None)
        yield tasks[1], (None, 15)

    monkeypatch.setattr(demo_arms, "run_all", run_all)
    monkeypatch.setattr(demo_arms, "default_workers", lambda: cores)
    assert run_arms(arms) == (None, 15)
    assert asked == {"jobs": cores, "threads": arms[0].threads}
    assert not (arms[0].run / "evaluation.jsonl").exists()


def test_the_highest_exit_code_is_the_demos(arms, monkeypatch, capsys):
    row = {"kind": "linear", "set": "val", "top1": 31.0}
    for arm in arms:
        log(arm)
        (arm.run / "evaluation.jsonl").write_text(json.dumps(row) + "\n")

    monkeypatch.setattr(
        demo_arms,
        "run_all",
        lambda work, tasks, *_: ((arm, (arm.name == "patch", None)) for arm in tasks),
    )
    assert run_arms(arms) == (1, None)
    assert f"patch: not evaluated wholly, see {arms[1].log}" in capsys.readouterr().out
    for arm in arms[:2]:
        last = json.loads((arm.run / "evaluation.jsonl").read_text().splitlines()[-1])
        assert last == {**row, "kind": "untrained", "weights": "before training, seed 3"}


def test_what_an_earlier_call_has_evaluated_is_not_evaluated_again(arms, monkeypatch):
    """Unless there is a newer checkpoint, or a set of it could not be evaluated."""
    arm, codes, evaluated = arms[0], [1, 0, 0], []
    finished = Result(arm.run, 12, finished=True)
    monkeypatch.setattr(demo_arms, "pretrain", lambda settings: finished)

    def evaluation(arm):
        evaluated.append(arm.name)
        return (lambda: 0), (lambda: codes.pop(0))

    monkeypatch.setattr(demo_arms, "_evaluation", evaluation)
    checkpoints = [arm.run / "checkpoints/step-12.pt"]
    monkeypatch.setattr(demo_arms.checkpoint, "paths", lambda run: checkpoints)
    assert [measure(arm)[0] for _ in range(3)] == [1, 0, 0] and len(evaluated) == 2
    checkpoints.append(arm.run / "checkpoints/step-24.pt")
    assert measure(arm) == (0, None) and len(evaluated) == 3


def test_a_stop_in_training_leaves_nothing_measured(arms, monkeypatch):
    stopped = Result(arms[0].run, 3, finished=False, signal=15)
    monkeypatch.setattr(demo_arms, "pretrain", lambda settings: stopped)
    assert measure(arms[0]) == (None, 15) and not arms[0].mark.exists()
