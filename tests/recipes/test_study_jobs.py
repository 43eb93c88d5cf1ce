"""Several runs at once: their results, and what becomes of them at a signal, a fault, a kill."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from fastneg.config import ConfigError
from fastneg.errors import TrainingError
from fastneg.recipes.study_jobs import run_all
from helpers import job_tasks
from helpers.processes import TESTS


@pytest.mark.parametrize("jobs", [1, 3])
def test_each_task_is_done_once(jobs):
    assert sorted(run_all(job_tasks.square, range(5), jobs)) == [
        (n, (n * n, None)) for n in range(5)
    ]


def test_a_process_serves_several_tasks_and_takes_them_when_it_is_free():
    taken = []

    def tasks():
        for number in range(4):
            taken.append(number)
            yield number

    with contextlib.closing(run_all(job_tasks.where, tasks(), 2)) as results:
        found = [next(results)]
        assert taken == [0, 1]  # a later task may depend on what an earlier one gave
        found += results
    pids = {pid for _, (pid, _) in found}
    assert len(found) == 4 and len(pids) <= 2 and os.getpid() not in pids


@pytest.mark.parametrize(
    ("number", "error", "said"),
    [(1, ConfigError, "task 1 is wrong"), (2, TrainingError, "(?s)2 failed:.*ZeroDivisionError")],
)
def test_what_a_task_raises_is_raised_here(number, error, said):
    with pytest.raises(error, match=said):
        list(run_all(job_tasks.fail, [0, number], 2))


def test_a_process_that_dies_is_told():
    with pytest.raises(TrainingError, match="ended with -9, perhaps for want of memory"):
        list(run_all(job_tasks.die, [0, 1], 2))


def began(folder, count):
    until = time.monotonic() + 120
    while len(list(folder.glob("*.began"))) < count:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_signal_goes_on_to_every_run(tmp_path):
    def stop():
        began(tmp_path, 2)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=stop).start()
    results = list(run_all(job_tasks.until_told, [tmp_path] * 3, 2))
    assert results == [(tmp_path, (None, signal.SIGINT))] * 2  # the third was not begun
    assert len(list(tmp_path.glob("*.ended"))) == 2


def test_whoever_leaves_early_stops_the_others(tmp_path):
    results = run_all(job_tasks.first_or_until_told, [(tmp_path, 0), (tmp_path, 1)], 2)
    assert next(results)[0] == (tmp_path, 0)
    results.close()
    assert len(list(tmp_path.glob("*.ended"))) == 1


SCRIPT = """
import sys
from pathlib import Path
from fastneg.recipes.study_jobs import run_all
from helpers import job_tasks
if __name__ == "__main__":
    list(run_all(job_tasks.until_told, [Path(sys.argv[1])] * 2, 2))
"""


def test_runs_end_with_a_parent_that_was_killed(tmp_path):
    script = tmp_path / "study.py"
    script.write_text(SCRIPT)
    parent = subprocess.Popen(
        [sys.executable, script, tmp_path], env={**os.environ, "PYTHONPATH": str(TESTS)}
    )
    began(tmp_path, 2)
    parent.kill()
    parent.wait()
    until = time.monotonic() + 60
    while len(list(tmp_path.glob("*.ended"))) < 2:
        assert time.monotonic() < until
        time.sleep(0.02)
