"""A first hour is rehearsed on the CPU: every stage, killed half-way and gone on with; and
processes that die, hang or have no time left.

What is measured lies in fastneg.recipes.bench.first_hour: ceilings, kernel_tests, losses, kernels,
steps, step_pairs, loader, road.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from fastneg.config import ConfigError
from fastneg.recipes.bench.first_hour import (
    __main__ as door,
)
from fastneg.recipes.bench.first_hour import (  # noqa: F401
    ceilings,
    kernel_tests,
    kernels,
    loader,
    losses,
    road,
    step_pairs,
    steps,
)
from fastneg.recipes.bench.first_hour.options import check, chosen
from fastneg.recipes.bench.first_hour.rows import Rows
from fastneg.recipes.bench.first_hour.run import StageRun, bench_first_hour
from fastneg.recipes.bench.first_hour.stages import STAGES, Stage
from fastneg.recipes.bench.registry import bench_config
from helpers.ready import ready_environment, ready_python

FIRST_ROW_S = 200
"""The imports of a process on a machine that is shared; on a quiet one it takes some five."""


def start(folder, *more, **options):
    command = [ready_python(), "-m", "fastneg", "bench", "first_hour", "--out", str(folder), *more]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, **streams, **options)


def wait_for(condition, timeout_s):
    began = time.monotonic()
    while not (found := condition()):
        assert time.monotonic() - began < timeout_s
        time.sleep(0.05)
    return found


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return file.read().rpartition(")")[2].split()[0] == "Z"


PATIENT = """
from dataclasses import replace
from fastneg.recipes.bench.first_hour.stages import STAGES

STAGES.update({name: replace(stage, limit_s=1500) for name, stage in STAGES.items()})
"""
"""A plugin: a busy machine may take longer for a stage than the hour has for it."""


@pytest.mark.slow
def test_the_rehearsal_is_killed_half_way_and_goes_on(tmp_path):
    rows = Rows(tmp_path / "hour")
    (tmp_path / "patient.py").write_text(PATIENT)
    patient = ready_environment(PYTHONPATH=str(tmp_path), FASTNEG_PLUGINS="patient")
    first = start(tmp_path / "hour", env=patient)
    try:
        wait_for(lambda: [row for row in rows.all() if row["status"] == "measured"], FIRST_ROW_S)
        wait_for(lambda: [row for row in rows.all() if row.get("stage") == "kernels"], 900)
        wait_for(lambda: rows.running_job("kernels"), 200)
    finally:
        first.kill()  # as a machine that is taken away, with all that it runs
        first.communicate()
        for pid in [row["pid"] for row in rows.all() if "pid" in row][-1:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    before = rows.all()
    ended = {
        (row["stage"], row["job"]) for row in before if row["status"] == "ended" and "job" in row
    }
    assert ("info_nce", "N 32") in ended and not [row for row in before if row["stage"] == "step"]

    second = start(tmp_path / "hour", "--resume", env=patient)
    said, _ = second.communicate(timeout=1800)
    assert second.returncode == 0, said
    begun = Counter((row["stage"], row["job"]) for row in rows.all() if "goes_on" in row)
    assert [begun[job] for job in ended] == [1] * len(ended), "nothing finished is measured again"
    assert not [row for row in rows.all() if row["status"] in ("failed", "stopped", "left")]
    measured = {row["stage"] for row in rows.latest() if row["status"] == "measured"}
    assert measured == set(STAGES)
    for row in rows.latest():
        assert row["status"] == "measured" or row["skipped"], row
    page = (tmp_path / "hour" / "first_hour.md").read_text()
    assert "rehearsal" in page and all(f"## {stage}\n" in page for stage in STAGES)
    assert "first_hour.html" in said and (tmp_path / "hour" / "rows.csv").stat().st_size > 1000


ODD = """
import os, time
from fastneg.recipes.bench.first_hour.stages import STAGES, Job, Missing, Stage

def row(name):
    yield {"contender": name}

def dies():
    yield {"contender": "dies"}
    os.kill(os.getpid(), 11)

def hangs():
    yield {"contender": "hangs"}
    time.sleep(1000)

def jobs(device):
    yield Job("fine", lambda: row("fine"))
    yield Job("dies", dies)
    yield Job("behind", lambda: row("behind"))
    yield Job("hangs", hangs)
    yield Job("never", lambda: row("never"))

def stuck(device):
    yield Job("hangs", hangs)

STAGES["odd"] = Stage("odd_stage:jobs", 300, "Odd.")
STAGES["stuck"] = Stage("odd_stage:stuck", 300, "Stuck.")
"""


@pytest.fixture
def odd(tmp_path, monkeypatch):
    """A stage of jobs that do what a GPU may bring them to."""
    (tmp_path / "odd_stage.py").write_text(ODD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("FASTNEG_PLUGINS", "odd_stage")
    monkeypatch.setattr(sys, "executable", ready_python())
    monkeypatch.setitem(STAGES, "odd", Stage("odd_stage:jobs", 300, "Odd."))
    return Rows(tmp_path / "hour")


def test_a_process_that_dies_or_hangs_costs_its_own_job(tmp_path, odd):
    found = []
    for row in bench_first_hour(tmp_path / "hour", "odd"):
        found.append(row)
        if row.get("contender") == "hangs":
            break  # whoever asks for the rows goes
    hung = [row["pid"] for row in found if "pid" in row]
    assert len(hung) == 2
    wait_for(lambda: gone(hung[-1]), 60)
    said = {row["job"]: row for row in odd.latest() if row["status"] != "measured"}
    assert "signal 11" in said.pop("dies")["failed"] and not said
    assert [row["contender"] for row in odd.latest() if row["status"] == "measured"] == [
        *("fine", "dies", "behind", "hangs"),
    ]
    again = StageRun("odd", odd, 300.0, "stage")
    for row in again.run():
        if row.get("contender") == "hangs":
            again.ends = 0.0  # its time is out
    (stopped,) = (row for row in odd.all() if row["status"] == "stopped")
    assert stopped["job"] == "hangs" and "300 s" in stopped["stopped"]
    assert odd.ended_jobs("odd") == {"fine", "dies", "behind", "hangs"}


def test_the_process_of_a_stage_ends_with_the_program(tmp_path, odd):
    program = start(tmp_path / "hour", "--stages", "stuck")
    try:
        wait_for(lambda: odd.running_job("stuck"), FIRST_ROW_S)
        (pid,) = (row["pid"] for row in odd.all() if "pid" in row)
        assert not gone(pid)
    finally:
        program.kill()
        program.communicate()
    wait_for(lambda: gone(pid), 60)


def test_without_time_a_stage_is_left_for_another_call(tmp_path, odd):
    (left, page) = bench_first_hour(tmp_path / "hour", "odd", budget=1.0)
    assert left["status"] == "left" and "budget" in left["left"] and page["stage"] == "page"
    assert odd.ended_stages() == set()


def test_stages_come_in_order_of_worth():
    assert chosen(None) == list(STAGES)
    assert chosen("step, ceilings") == ["ceilings", "step"]


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="--out is missing"):
        bench_config()("first_hour")
    with pytest.raises(ConfigError, match=r"names among ceilings, .*not stap"):
        bench_config()("first_hour", out=str(tmp_path), stages="stap,step")
    with pytest.raises(ConfigError, match="no effect with --name step"):
        bench_config()("step", out=str(tmp_path))
    for budget in (0.0, -1.0, float("nan")):
        with pytest.raises(ConfigError, match="budget"):
            check(str(tmp_path), None, budget, False, False)
    with pytest.raises(ConfigError, match=r"no rows\.jsonl"):
        check(str(tmp_path), None, None, False, True)
    Rows(tmp_path).append("measured", stage="step")
    with pytest.raises(ConfigError, match="add --resume"):
        check(str(tmp_path), None, None, False, False)
    with pytest.raises(ConfigError, match="measures nothing"):
        check(str(tmp_path), "step", None, False, True)


def test_the_door_without_fire_makes_the_page(tmp_path, capsys):
    Rows(tmp_path, stage="step").append("measured", contender="fastneg", ms_median=1.0)
    assert door.main(["--out", str(tmp_path), "--page"]) == 0
    assert "first_hour.md" in capsys.readouterr().out
    assert door.main(["--out", str(tmp_path)]) == 2
    assert "--resume" in capsys.readouterr().err
