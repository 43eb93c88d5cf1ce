"""One run of a study: its settings, its training and evaluation, its line of results."""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from pathlib import Path
from typing import NamedTuple

from fastneg.config import EvaluateConfig, LinearConfig, UnfitError
from fastneg.data.beton.shards import open_data
from fastneg.data.labels import class_count, labels_of
from fastneg.distributed import choose_device
from fastneg.errors import BusyError
from fastneg.evaluation.accuracy import accuracy
from fastneg.evaluation.features import features_of
from fastneg.evaluation.logistic import fit_on_features
from fastneg.recipes.evaluate import run_evaluate
from fastneg.recipes.linear import run_linear
from fastneg.recipes.presets import moco_in100, simclr_in100, tiny_moco, tiny_simclr
from fastneg.recipes.study_data import UNBIASED_TRAIN, file_of
from fastneg.recipes.study_jobs import printed_to
from fastneg.runs.environment import environment
from fastneg.runs.folder import read_run
from fastneg.runs.load import load_run
from fastneg.runs.paths import METRICS
from fastneg.study.plan import SETS, TRANSFER, UNBIASED, Arm, Size
from fastneg.study.verdict import IN_DOMAIN
from fastneg.training.trainer import pretrain

SMALL_PHOTOGRAPHS = {
    "backbone": "resnet18",
    "stem": "small",
    "image_size": 64,
    "eval_resize": 64,
    "patch_min": 5,  # the published 16 to 72 of 224 px
    "patch_max": 21,
    "probe": "features",
}
BASES = {
    ("stencils", "simclr"): lambda size: tiny_simclr(),
    ("stencils", "moco"): lambda size: tiny_moco().replace(queue_size=size.queue_size),
    ("photographs", "simclr"): lambda size: simclr_in100().replace(
        temperature=0.2, lr=0.3, **SMALL_PHOTOGRAPHS
    ),
    ("photographs", "moco"): lambda size: moco_in100().replace(
        lr=0.06, lr_schedule="cosine_step", queue_size=size.queue_size, **SMALL_PHOTOGRAPHS
    ),
    ("imagenet100", "simclr"): lambda size: simclr_in100().replace(lr=0.15),
    ("imagenet100", "moco"): lambda size: moco_in100(),
}
"""{(data, method): the settings of all its arms}. The rates of the presets for their batches are
carried over to these in proportion."""
POINTS = 20
TIMED = 100
"""Steps after which a run of days is told how long it will take."""
CONFLICT = {"stencils": "swapped", "photographs": "cue_conflict", "imagenet100": None}
"""{data: its set of conflicting cues}"""
PATIENCE_S = 15.0
"""Seconds for which a run that another process trains is waited for: those of a killed study end
with it, after a checkpoint."""
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
    base = BASES[size.data, config.method](size)
    name, count = ("epochs", size.epochs) if size.steps is None else ("steps", size.steps)
    length = {name: round(count * arm.length)}
    steps = size.steps or size.train_images // size.batch_size * size.epochs
    own = {
        # on a GPU too: networks this small gain nothing from half of it, nor from fused layers
        "stencils": {"precision": "fp32", "fused_bn": "off", "log_every": max(1, steps // 50)},
        "photographs": {"log_every": 50},
        "imagenet100": {"log_every": 50},
    }[size.data]
    return base.replace(
        data=str(file_of(task.out, "train")),
        out=str(task.out / "runs" / config.stage / f"{arm.name}-{task.seed}"),
        seed=task.seed,
        warmup_epochs=size.warmup_epochs,
        batch_size=size.batch_size,
        device=config.device,
        cache=config.cache,
        augment_with="kernel" if config.cache == "device" else "dali",
        threads=task.threads,
        checkpoint_every=max(1, size.epochs // 4) if size.steps is None else 10,
        keep_checkpoints=1,
        **length,
        **own,
        **arm.overrides(),
    )


def train_and_evaluate(task):
    """(the line of a run, None), or (None, the signal that stopped it); (None, None) where another
    process trains it."""
    began, made = time.perf_counter(), settings(task)
    log = log_of(task)
    resumed = (Path(made.out) / METRICS).exists()
    with printed_to(log):
        try:
            result = _when_free(lambda: _pretrain(task, made))
        except BusyError:
            return None, None
        if not result.finished:
            return None, result.signal or 1
        trained = _seconds_of_steps(made.out) if resumed else time.perf_counter() - began
        began = time.perf_counter()
        for step in _evaluation(task, made):
            if code := step():
                raise UnfitError(f"{made.out}: the evaluation ended with {code}; see {log}.")
        second = _second_probe(task, made)
    seconds = {"train_seconds": trained, "seconds": trained + time.perf_counter() - began}
    return _row(task, made, result.step, seconds, second), None


def log_of(task):
    """The file that takes what a run prints."""
    return task.out / "logs" / task.config.stage / f"{task.arm.name}-{task.seed}.txt"


def _when_free(train):
    """What `train` returns; it is tried again while another process holds the run."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return train()
        except BusyError:
            if time.monotonic() > until:
                raise
        time.sleep(0.5)


def _seconds_of_steps(run):
    """Wall time of a run's steps, by its log: several calls had a part of it."""
    seconds = done = 0
    for row in read_run(run, run).rows:
        seconds, done = seconds + (row["step"] - done) * row.get("step_ms", 0.0) / 1000, row["step"]
    return seconds


def _pretrain(task, made):
    """Train; where a run takes days, say so after its first steps."""
    if task.size.data != "imagenet100" or Path(made.out).exists():
        return pretrain(made)
    result = pretrain(made, stop_after=TIMED)
    if result.signal is None and not result.finished:
        rate = read_run(made.out, made.out).rows[-1]["images_per_s"]
        with open_data(made.data) as reader:
            images = made.total_steps(len(reader) // made.batch_size) * made.batch_size
        hours = images / rate / 3600
        said = f"{task.arm.name}, seed {task.seed}: {rate:.0f} images/s, about {hours:.1f} hours."
        print(said, file=sys.__stdout__, flush=True)
        result = pretrain(made)
    return result


def _evaluation(task, made):
    """What is done with a trained run, in turn; each gives an exit code."""
    names = {"stencils": SETS, "photographs": ("val", "cue_conflict")}.get(task.size.data, ("val",))
    val = file_of(task.out, names[0])
    where = {"device": task.config.device, "threads": task.threads}
    known = "off" if task.untrained is not None else "on"
    probe = LinearConfig(made.out, made.data, str(val), untrained=known, **where)
    named = ",".join(f"{name}={file_of(task.out, name)}" for name in names)
    corruptions = "off" if task.size.data == "stencils" else "on"
    evaluation = EvaluateConfig(made.out, named, corruptions=corruptions, **where)
    return lambda: run_linear(probe), lambda: run_evaluate(evaluation)


def _second_probe(task, made):
    """{figure: top-1 in percent} of a probe on another training set: on PACS's photographs for its
    other domains; of the built-in set on images whose texture tells nothing."""
    if task.size.data == "photographs":
        train, tests = "pacs_photo", dict(zip(TRANSFER, TRANSFER, strict=True))
    elif task.size.data == "stencils":
        train, tests = UNBIASED_TRAIN, {name: name.removeprefix("unbiased_") for name in UNBIASED}
    else:
        return {}
    device = choose_device(task.config.device)
    loaded, found = load_run(made.out, device), {}
    with contextlib.ExitStack() as stack:
        for name in (train, *tests.values()):
            reader = stack.enter_context(open_data(str(file_of(task.out, name))))
            features = features_of(made.out, loaded, reader, device, task.threads)
            found[name] = features.features, labels_of(reader)[features.index]
        classes = class_count(reader)
    fitted = fit_on_features(*found.pop(train), classes, device=device)

    def top1(features, labels):
        return accuracy(fitted.head.logits(features, device), labels).top1

    return {figure: top1(*found[name]) for figure, name in tests.items()}


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


def _accuracies(found):
    """{set: top-1 in percent}; those of photographs under the names that tables have for them."""
    rows = {name: row["top1"] for (kind, name), row in found.items() if kind == "accuracy"}
    if "val" in rows:
        rows[IN_DOMAIN] = rows.pop("val")
    for (kind, _), row in found.items():
        if kind == "corruptions":
            rows["corrupted"] = row["mean_top1"]
    return rows


def _row(task, made, steps, seconds, second):
    run = read_run(made.out, made.out)
    found = run.results
    shares = [row["negative_share"] for row in run.rows if row.get("negative_share") is not None]
    last = shares[-max(1, round(LAST_SHARE * len(shares))) :]
    bias = found.get(("shape_bias", CONFLICT[task.size.data]), {})
    untrained = task.untrained
    where = environment(choose_device(task.config.device))
    return {
        "stage": task.config.stage,
        "arm": task.arm.name,
        "seed": task.seed,
        "dose": task.arm.dose,
        "measured_dose": task.arm.measured or None,
        "method": task.config.method,
        "size": task.config.size,
        "steps": steps,
        **_accuracies(found),
        **second,
        "shape_bias": bias.get("shape_bias"),
        "coverage": bias.get("coverage"),
        "untrained": found["untrained", "val"]["top1"] if untrained is None else untrained,
        "negative_share": statistics.fmean(last) if last else None,
        "curve": _curve(run.rows if shares else run.measured),
        **{name: round(value, 1) for name, value in seconds.items()},
        "cache": task.config.cache,
        "jobs": task.config.jobs,
        **{name: where[name] for name in ("device", "cores", "commit", "versions")},
    }
