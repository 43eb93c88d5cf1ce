"""One run of a study: its settings, its training and evaluation, its line of results."""

from __future__ import annotations

import contextlib
import statistics
import time
from pathlib import Path
from typing import NamedTuple

from fastneg.config import ConfigError, EvaluateConfig, LinearConfig
from fastneg.distributed import choose_device
from fastneg.recipes.evaluate import run_evaluate
from fastneg.recipes.linear import run_linear
from fastneg.recipes.presets import tiny_cpu, tiny_cpu_simclr
from fastneg.runs.environment import environment
from fastneg.runs.folder import read_run
from fastneg.study.plan import SETS, Arm, Size
from fastneg.training.trainer import pretrain

BASES = {
    "simclr": lambda size: tiny_cpu_simclr(),
    "moco": lambda size: tiny_cpu().replace(bn="none", lr=0.3, queue_size=size.queue_size),
}
"""{method: the settings of all its arms}"""
POINTS = 20
LAST_SHARE = 0.1
"""The share of training at its end over which what the negatives take of the softmax is averaged.
"""


class Task(NamedTuple):
    """What a run is made from; it can go to another process."""

    config: object
    """`StudyConfig`."""
    size: Size
    arm: Arm
    seed: int
    untrained: float | None = None
    """In-domain percent of the seed's untrained encoder, where another arm has measured it."""
    threads: int = 0
    """Decoding threads; 0: all cores."""

    @property
    def out(self):
        return Path(self.config.out)


def settings(task):
    """The `PretrainConfig` of a run.

    Initial weights, order and views come from the seed alone, so that the arms of a block are
    paired; negatives are drawn from a stream of their own.
    """
    config, size, arm = task.config, task.size, task.arm
    base = BASES[config.method](size)
    steps = size.train_images // size.batch_size * size.epochs
    return base.replace(
        data=str(task.out / "data" / "train.beton"),
        out=str(task.out / "runs" / config.stage / f"{arm.name}-{task.seed}"),
        seed=task.seed,
        epochs=size.epochs,
        warmup_epochs=size.warmup_epochs,
        batch_size=size.batch_size,
        device=config.device,
        # On a GPU too: networks this small gain nothing from half precision, and wait longer for
        # the host to start the kernels of fused layers than for the GPU.
        precision="fp32",
        fused_bn="off",
        cache=config.cache,
        augment_with="kernel" if config.cache == "device" else "dali",
        threads=task.threads,
        log_every=max(1, steps // 50),
        checkpoint_every=max(1, size.epochs // 4),
        keep_checkpoints=1,
        **arm.overrides(base.temperature),
    )


def train_and_evaluate(task):
    """(the line of a run, None), or (None, the signal that stopped it)."""
    began, made = time.perf_counter(), settings(task)
    logs = task.out / "logs" / task.config.stage
    logs.mkdir(parents=True, exist_ok=True)
    with (
        open(logs / f"{task.arm.name}-{task.seed}.txt", "a", encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        result = pretrain(made)
        if not result.finished:
            return None, result.signal or 1
        trained = time.perf_counter() - began
        for step in _evaluation(task, made):
            if code := step():
                raise ConfigError(f"{made.out}: the evaluation ended with {code}; see {log.name}.")
    seconds = {"train_seconds": trained, "seconds": time.perf_counter() - began}
    return _row(task, made, result.step, seconds), None


def _evaluation(task, made):
    """What is done with a trained run, in turn; each gives an exit code."""
    data = {name: str(task.out / "data" / f"{name}.beton") for name in ("train", *SETS)}
    where = {"device": task.config.device, "threads": task.threads}
    known = "off" if task.untrained is not None else "on"
    probe = LinearConfig(made.out, data["train"], data["in_domain"], untrained=known, **where)
    named = ",".join(f"{name}={data[name]}" for name in SETS)
    evaluation = EvaluateConfig(made.out, named, **where)
    return lambda: run_linear(probe), lambda: run_evaluate(evaluation)


def _curve(rows):
    """What negatives weighed over training, {"step", "negative_share", "negative_similarity"}, at
    some POINTS of it."""
    rows = [row for row in rows if "negative_similarity" in row]
    chosen = rows[:: max(1, round(len(rows) / POINTS))]
    fields = ("step", "negative_share", "negative_similarity")
    return {
        name: [round(row[name], 5) for row in chosen]
        for name in fields
        if all(name in row for row in chosen)
    }


def _row(task, made, steps, seconds):
    run = read_run(made.out, made.out)
    found = run.results
    shares = [row["negative_share"] for row in run.rows if row.get("negative_share") is not None]
    last = shares[-max(1, round(LAST_SHARE * len(shares))) :]
    bias = found["shape_bias", "swapped"]
    untrained = task.untrained
    where = environment(choose_device(task.config.device))
    return {
        "stage": task.config.stage,
        "arm": task.arm.name,
        "seed": task.seed,
        "dose": task.arm.dose,
        "method": task.config.method,
        "steps": steps,
        **{name: found["accuracy", name]["top1"] for name in SETS},
        "shape_bias": bias["shape_bias"],
        "coverage": bias["coverage"],
        "untrained": found["untrained", "val"]["top1"] if untrained is None else untrained,
        "negative_share": statistics.fmean(last) if last else None,
        "curve": _curve(run.rows if shares else run.measured),
        **{name: round(value, 1) for name, value in seconds.items()},
        "cache": task.config.cache,
        "jobs": task.config.jobs,
        **{name: where[name] for name in ("device", "cores", "commit", "versions")},
    }
