"""Stage road: `fastneg pretrain` itself, with DALI, negatives, training and log, on a .beton file
of generated JPEGs."""

from __future__ import annotations

import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from fastneg.files import json_rows
from fastneg.recipes.bench.first_hour.loader import require_dali
from fastneg.recipes.bench.first_hour.stages import Job, Missing
from fastneg.runs.paths import METRICS

STEPS = {"cpu": 8, "cuda": 48}
BATCH = {"cpu": 16, "cuda": 256}
LOG_EVERY = {"cpu": 2, "cuda": 6}
COMMANDS = {
    "cpu": {"patch": ("--preset", "tiny_cpu", "--queue_size", "64", "--threads", "1")},
    "cuda": {
        "patch": ("--preset", "moco_patch_in100", "--queue_size", "65536"),
        "texture": ("--preset", "moco_texture_in100", "--queue_size", "65536"),
    },
}


def jobs(device):
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "train.beton"
        yield Job("write", partial(_write, data, device))
        for name in COMMANDS[device]:
            yield Job(name, partial(_road, data, device, name))


def _road(data, device, name):
    require_dali()
    if importlib.util.find_spec("fire") is None:
        raise Missing("Fire is not installed, which the command line needs: pip install fire")
    if not data.exists():  # written by an earlier call, whose folder is gone
        list(_write(data, device))
    run = data.with_name(name)
    command = [sys.executable, "-m", "fastneg", "pretrain", *COMMANDS[device][name]]
    command += ["--data", str(data), "--out", str(run), "--epochs", "1"]
    command += ["--batch_size", str(BATCH[device]), "--log_every", str(LOG_EVERY[device])]
    began = time.perf_counter()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, check=False)
    seconds = time.perf_counter() - began
    found = [row for row in json_rows(run / METRICS) if row.get("kind") == "train"]
    if done.returncode or len(found) < 3:
        raise RuntimeError(
            f"fastneg pretrain ended with exit code {done.returncode} and {len(found)} lines of "
            "figures: see road.log"
        )
    yield {"contender": name, "measured": "training", **_figures(found, device, seconds)}


def _figures(found, device, seconds):
    """Of the lines of the log behind the first two, in which kernels are compiled and queues
    fill."""
    steady = found[2:]
    median = lambda field: statistics.median(row[field] for row in steady)
    row = {
        "N": BATCH[device],
        "steps": found[-1]["step"],
        "samples_per_s": median("images_per_s"),
        "samples_per_s_slowest": min(row["images_per_s"] for row in steady),
        "data_wait_share": median("data_wait_share"),
        "first_samples_per_s": found[0]["images_per_s"],
        "command_s": seconds,
        "loss": found[-1]["loss"],
    }
    return row | {name: found[-1][name] for name in ("peak_mib",) if name in found[-1]}


def _write(path, device):
    from fastneg.recipes.bench.photos import write_photos

    count, distinct = STEPS[device] * BATCH[device], 256 if device == "cuda" else 16
    made = write_photos(path, count, distinct)
    yield {
        "contender": "write",
        "images": count,
        "bytes": made["bytes"],
        "seconds": made["seconds"],
        "images_per_s": count / made["seconds"],
    }
