"""Work in processes. The progress of a whole job: test_encode.py."""

import multiprocessing
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fastneg.data import BetonError
from fastneg.data.pool import SLOTS, in_order
from helpers.pool_tasks import (
    die,
    interrupt_yourself,
    refuse,
    refuse_stubbornly,
    same,
    several_buffers,
    sleep,
    slow_first,
)
from helpers.processes import TESTS


def test_an_interrupt_is_the_parents_business():
    # Ctrl-C reaches idle workers too
    assert list(in_order(interrupt_yourself, range(4), workers=2)) == [0, 1, 2, 3]


@pytest.mark.parametrize("method", ["forkserver", "fork"])
def test_what_a_worker_raises_is_raised_here(method):
    context, found = multiprocessing.get_context(method), []
    with pytest.raises(KeyError, match="five") as caught:
        found += in_order(refuse, range(20), workers=2, context=context)
    assert len(found) == 5 and "in refuse" in str(caught.value.__cause__)
    with pytest.raises(BetonError, match="Stubborn: why"):
        list(in_order(refuse_stubbornly, range(3), workers=2, context=context))


def _gone(pid):
    """Whether a process ends within some time; one that nobody has waited for yet counts."""
    for _ in range(1200):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("method", ["forkserver", "fork"])
def test_workers_end_with_the_generator(method):
    results = in_order(
        sleep, [0, 0, 600, 600, 600], workers=2, context=multiprocessing.get_context(method)
    )
    pids = {next(results), next(results)}
    results.close()
    assert all(_gone(pid) for pid in pids)


@pytest.mark.parametrize("method", ["forkserver", "fork"])
def test_workers_end_when_their_parent_is_killed(method, tmp_path):
    script = (
        "import multiprocessing, sys; sys.path.insert(0, sys.argv[1])\n"
        "from helpers.pool_tasks import sleep\nfrom fastneg.data.pool import in_order\n"
        "if __name__ == '__main__':\n    for pid in "
        "in_order(sleep, [0.2] * 1000, 2, multiprocessing.get_context(sys.argv[2])): "
        "print(pid, flush=True)"
    )
    path = tmp_path / "job.py"
    path.write_text(script)
    job = subprocess.Popen(
        [sys.executable, str(path), str(TESTS), method],
        stdout=subprocess.PIPE,
        text=True,
    )
    pids = {int(job.stdout.readline()) for _ in range(4)}
    job.kill()
    job.wait(120)
    assert len(pids) == 2 and all(_gone(pid) for pid in pids)


def test_tasks_larger_than_a_pipe():
    tasks = [bytes([i]) * 3_000_000 for i in range(8)]
    assert list(in_order(same, tasks, workers=2)) == tasks


def test_results_come_in_order_and_a_dead_worker_is_an_error():
    assert list(in_order(slow_first, range(20), workers=2)) == [i * i for i in range(20)]
    with pytest.raises(BetonError, match="worker process died"):
        list(in_order(die, range(20), workers=2))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("method", ["forkserver", "fork"])
def test_buffers_come_through_shared_memory(workers, method):
    kinds, count = [], 3 * SLOTS
    for number, buffers in in_order(
        several_buffers, range(count), workers, multiprocessing.get_context(method)
    ):
        views = [memoryview(buffer) for buffer in buffers]
        assert [view.nbytes for view in views] == [number + 1, 5 << 20, 0, 5 << 20]
        assert all(view == bytes([number % 251]) * view.nbytes for view in views)
        kinds.append([type(buffer) for buffer in buffers])
    assert len(kinds) == count
    assert kinds[0] == ([pickle.PickleBuffer] * 4 if workers == 1 else [memoryview] * 3 + [bytes])
