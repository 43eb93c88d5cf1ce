"""The process of one stage: runs its jobs in turn and writes each figure as soon as it is measured.

python -m fastneg.recipes.bench.first_hour.work STAGE DIR
Exit codes: 0 every job has ended; `AGAIN`: the GPU is in a state that only a new process leaves,
and jobs are left.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import signal
import sys
import threading
import time
import traceback
from functools import partial

from fastneg import plugins
from fastneg.recipes.bench.first_hour.rows import Rows
from fastneg.recipes.bench.first_hour.stages import STAGES, Job, Missing

AGAIN = 75
FOLDER = "FASTNEG_FIRST_HOUR"
"""The variable that tells a job the folder of the rows."""
SPOILED = re.compile(
    r"CUDA error|Triton Error \[CUDA\]|AcceleratorError|illegal memory access|device-side assert"
    r"|unspecified launch failure|EXECUTION_FAILED"
)
"""What an error says after which no call to the GPU of the same process succeeds."""


class Again(Exception):
    """The rest of the jobs needs a new process."""


def spoils_the_process(said):
    """Whether an error's text tells of a GPU that this process cannot use any more."""
    return bool(SPOILED.search(said)) and "out of memory" not in said


def main(stage, folder):
    """Run the jobs of a stage that have not ended; returns the exit code."""
    _end_with_the_parent()
    folder = os.environ[FOLDER] = os.path.abspath(folder)  # a job may change the current one
    rows = Rows(folder, stage=stage)
    plugins.load_named()
    import torch

    from fastneg.recipes.bench.measuring import bench_device
    from fastneg.runs.environment import environment

    device, began = bench_device(), time.perf_counter()
    if device == "cpu":
        # A rehearsal: threads that wait for each other on cores that others use take minutes.
        torch.set_num_threads(1)
        os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")
    where = environment(torch.device(device))
    rows.append(
        "begun",
        pid=os.getpid(),
        device=device,
        device_name=where["device"],
        **{name: where[name] for name in ("cores", "commit", "versions")},
    )
    ended, missing = rows.ended_jobs(stage), 0
    for job in _jobs(stage, device):
        if job.name not in ended:
            try:
                missing += not run_job(job, rows)
            except Again:
                return AGAIN
    rows.append("ended", seconds=time.perf_counter() - began, missing=missing)
    return 0


def _jobs(stage, device):
    """Yield the jobs of a stage; where a module that it needs is missing, one that says so."""
    module, _, function = STAGES[stage].jobs.partition(":")
    try:
        with _others_missing():
            yield from getattr(importlib.import_module(module), function)(device)
    except Missing as reason:
        yield Job(stage, partial(_say_missing, str(reason)))


def _say_missing(reason):
    raise Missing(reason)


@contextlib.contextmanager
def _others_missing():
    """`Missing` for a module that is not installed, unless it is one of ours."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "fastneg").startswith("fastneg"):
            raise
        raise Missing(f"{error.name} is not installed") from error


def run_job(job, rows):
    """Append the rows of one job, and how it ended; returns whether it had what it needs.

    Raises:
        Again: after its rows, where the process is spoiled.
    """
    began = time.perf_counter()
    rows.append("begun", job=job.name, goes_on=job.goes_on)
    try:
        with _others_missing():
            for row in job.measure():
                of_row = (status for status in ("skipped", "failed") if status in row)
                status = row.pop("status", next(of_row, "measured"))
                rows.append(status, job=job.name, **row)
    except Missing as reason:
        rows.append("skipped", job=job.name, skipped=str(reason), missing=True)
        return False
    except (Exception, SystemExit) as error:
        if isinstance(error, Again):
            raise
        traceback.print_exc()
        said = f"{type(error).__name__}: {error}".strip()
        rows.append("failed", job=job.name, failed=said.splitlines()[0][:500])
        rows.append("ended", job=job.name, seconds=time.perf_counter() - began)
        if spoils_the_process(said):
            raise Again from error
        _free_memory()
    else:
        rows.append("ended", job=job.name, seconds=time.perf_counter() - began)
    return True


def _free_memory():
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _end_with_the_parent():
    """End this process and those that it started once its parent is gone: another call may go on
    with the same rows."""
    parent = os.getppid()

    def watch():
        while os.getppid() == parent:
            time.sleep(0.5)
        os.killpg(0, signal.SIGKILL)

    if os.getpgrp() == os.getpid():  # the first of a group of its own
        threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
