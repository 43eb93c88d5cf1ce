"""The arms of the demo: an encoder without negatives, one with negatives, and an untrained one."""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

import torch

from fastneg.config import (
    EvaluateConfig,
    ImportConfig,
    KnnConfig,
    LinearConfig,
    PretrainConfig,
    default_workers,
)
from fastneg.data import stencils
from fastneg.evaluation.untrained import KIND
from fastneg.files import json_rows, write_atomically
from fastneg.models.backbones import backbone_of
from fastneg.progress import time_left
from fastneg.recipes.evaluate import run_evaluate
from fastneg.recipes.import_weights import run_import
from fastneg.recipes.knn import run_knn
from fastneg.recipes.linear import run_linear
from fastneg.recipes.study_jobs import printed_to, run_all
from fastneg.runs import checkpoint
from fastneg.runs.folder import read_run
from fastneg.runs.paths import METRICS
from fastneg.runs.results import append_result
from fastneg.training.trainer import pretrain

JOBS = 2
"""Arms at a time: as many as are trained."""
UNTRAINED = "untrained"
LINES = 10
"""Lines of progress while the arms train."""
LOOK_S = 1.0


class Arm(NamedTuple):
    """One of the encoders; it can go to another process."""

    name: str
    out: str
    """The demo's folder. The run lies in `name` there, what it printed in logs/."""
    settings: PretrainConfig
    threads: int = 0
    """Of decoding and evaluation; 0: all cores."""

    def __repr__(self):
        return f"the arm {self.name}"

    @property
    def trained(self):
        return self.name != UNTRAINED

    @property
    def run(self):
        return Path(self.out) / self.name

    @property
    def log(self):
        return Path(self.out) / "logs" / f"{self.name}.txt"

    @property
    def mark(self):
        """Holds the name of the checkpoint that was evaluated wholly."""
        return self.log.with_suffix(".done")

    def file(self, name):
        """The .beton file of a set."""
        return str(Path(self.out) / f"{name}.beton")


def arms_of(out, settings):
    """[`Arm`] of the demo: those that are trained first, alike but for the negatives.

    Args:
        out: the demo's folder.
        settings: {name of an arm: its PretrainConfig, without data and out}, the plain one first.
    """
    out = Path(out)
    cores = default_workers()
    threads = max(1, cores // min(JOBS, cores))
    made = {
        name: config.replace(data=str(out / "train.beton"), out=str(out / name), threads=threads)
        for name, config in settings.items()
    }
    made[UNTRAINED] = next(iter(made.values())).replace(out=str(out / UNTRAINED))
    return [Arm(name, str(out), config, threads) for name, config in made.items()]


def run_arms(arms):
    """Train and evaluate the arms, as many at a time as there are cores.

    Returns:
        (the highest exit code, None), or (None, the signal that stopped an arm: the same call goes
        on from there).
    """
    codes, stopped, ended = [0], None, threading.Event()
    jobs = min(JOBS, default_workers())
    teller = threading.Thread(target=tell_progress, args=(arms, ended, _speaker()), daemon=True)
    teller.start()
    try:
        with contextlib.closing(run_all(measure, arms, jobs, arms[0].threads)) as results:
            for arm, (code, signal) in results:
                stopped = stopped or signal
                if signal and jobs == 1:
                    break
                codes.append(code or 0)
                if code:
                    print(f"{arm.name}: not evaluated wholly, see {arm.log}.", flush=True)
    finally:
        ended.set()
        teller.join()
    if stopped:
        return None, stopped
    _share_untrained(arms)
    return max(codes), None


def measure(arm):
    """(exit code, None) of an arm that is trained, probed and evaluated, or (None, the signal that
    stopped it)."""
    with printed_to(arm.log):
        if arm.trained:
            result = pretrain(arm.settings)
            if not result.finished:
                return None, result.signal or 1
        elif not checkpoint.paths(arm.run):
            _make_untrained(arm)
        if _is_measured(arm):
            return 0, None
        codes = [step() for step in _evaluation(arm)]
    if not max(codes):
        mark = checkpoint.paths(arm.run)[-1].name.encode()
        write_atomically(arm.mark, lambda file: file.write(mark))
    return max(codes), None


def _is_measured(arm):
    """Whether an earlier call has evaluated the newest checkpoint wholly."""
    newest = checkpoint.paths(arm.run)[-1].name
    return arm.mark.exists() and arm.mark.read_text(encoding="utf-8") == newest


def _evaluation(arm):
    where = {"device": arm.settings.device, "threads": arm.threads}
    run, train, val = str(arm.run), arm.file("train"), arm.file("in_domain")
    # The set of textures alone also tells which classes live by their texture.
    sets = ",".join(
        f"{name}={arm.file(name)}" + ":texture" * (name == "texture_only")
        for name in stencils.TEST_SETS
    )
    more = {"corruptions": "on", "similarity": "on"} if arm.trained else {}
    probe = LinearConfig(run, train, val, mode=arm.settings.probe, **where)
    evaluation = EvaluateConfig(run, sets, **more, **where)
    return (
        lambda: run_linear(probe),
        lambda: run_knn(KnnConfig(run, train, val, **where)),
        lambda: run_evaluate(evaluation),
    )


def _make_untrained(arm):
    """A run folder of the network that the arms start from."""
    config, weights = arm.settings, Path(arm.out) / f"{UNTRAINED}.pth"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        backbone, _ = backbone_of(config)
    write_atomically(weights, lambda file: torch.save(backbone.state_dict(), file))
    names = ("backbone", "stem", "image_size", "eval_resize", "eval_interpolation", "mean", "std")
    options = {name: getattr(config, name) for name in names}
    run_import(ImportConfig(str(weights), str(arm.run), **options))


def _share_untrained(arms):
    """Put the untrained encoder's probe into the results of the arms that began as it: whoever
    reads one sees at once whether training gained anything."""
    *trained, untrained = arms
    row = read_run(untrained.run, UNTRAINED).results["linear", "val"]
    seed = untrained.settings.seed
    for arm in trained:
        append_result(arm.run, {**row, "kind": KIND, "weights": f"before training, seed {seed}"})


def tell_progress(arms, ended, say):
    """Say how far the arms are, at each of LINES parts of the way, until `ended` is set.

    Args:
        arms: `Arm`s; those that are not trained are left out.
        ended: threading.Event.
        say: takes a line.
    """
    arms = [arm for arm in arms if arm.trained]
    began = first = None
    told = 0
    while not ended.wait(LOOK_S):
        found = [progress_of(arm) for arm in arms]
        if not all(total for _, total in found):
            continue
        share = sum(step / total for step, total in found) / len(found)
        if began is None:  # an earlier call may have done a part of it
            began, first = time.perf_counter(), share
        if int(share * LINES) == told:
            continue
        told, spent = int(share * LINES), time.perf_counter() - began
        steps = ", ".join(
            f"{arm.name} {step:,} of {total:,}"
            for arm, (step, total) in zip(arms, found, strict=True)
        )
        rest = spent / (share - first) * (1 - share) if share > first else None
        more = "" if rest is None else f"; {time_left(rest)} of training left"
        say(f"steps: {steps}{more if share < 1 else '; probes and test sets follow'}")


def progress_of(arm):
    """(steps done, steps in all) of an arm, by its log; (0, 0) where it has not begun."""
    rows = list(json_rows(arm.run / METRICS))
    totals = [row["total_steps"] for row in rows if row.get("kind") == "start"]
    steps = [row["step"] for row in rows if row.get("kind") in ("start", "train")]
    return (steps[-1], totals[-1]) if totals else (0, 0)


def _speaker():
    """Prints to what standard output is now: an arm in this process turns it to its log."""
    return functools.partial(print, file=sys.stdout, flush=True)
