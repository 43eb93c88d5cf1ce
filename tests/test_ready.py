"""Processes that are ready when they begin are what Python's own are: helpers.ready."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from helpers.ready import ready_environment, ready_python

ABOUT = """
import json, os, sys
print(json.dumps([sys.path, sys.argv, os.getcwd(), os.getpgrp() == os.getpid(), os.environ["A"],
                  sys.stdin.read(), __name__, sys.stdout.isatty()]))
print("said", file=sys.stderr)
"""
WAITS = "import os, time; print(os.getpid(), flush=True); time.sleep(100)"


@pytest.mark.parametrize("way", ["-c", "-m", "a file"])
def test_it_is_given_what_python_is_given(way, tmp_path):
    (tmp_path / "about.py").write_text(ABOUT)
    words = {"-c": ["-c", ABOUT], "-m": ["-m", "about"]}.get(way, [tmp_path / "about.py"])
    own, ready = (
        subprocess.run(
            [python, *words, "x", "-y"],
            cwd=tmp_path,
            env={**os.environ, "A": "b", "PYTHONPATH": "/p:/q"},
            input="typed",
            capture_output=True,
            text=True,
            check=True,
            start_new_session=way == "-c",
        )
        for python in (sys.executable, ready_python())
    )
    assert json.loads(ready.stdout) == json.loads(own.stdout) and ready.stderr == own.stderr


@pytest.mark.parametrize(
    ("code", "ends"),
    [
        ("import sys; sys.exit(7)", 7),
        ("1 / 0", 1),
        ("import os; os.kill(os.getpid(), 9)", -9),
        ("import atexit, os; atexit.register(lambda: print('last'))", 0),
    ],
)
def test_it_ends_as_python_does(code, ends):
    done = subprocess.run([ready_python(), "-c", code], capture_output=True, text=True)
    assert done.returncode == ends
    assert ("ZeroDivisionError" in done.stderr) == (ends == 1)
    assert done.stdout == "last\n" * ("atexit" in code)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_reaches_it(number):
    command = [ready_python(), "-c", WAITS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        pid = int(process.stdout.readline())
        process.send_signal(number)
    assert process.returncode == -number
    until = time.monotonic() + 60
    while os.path.exists(f"/proc/{pid}"):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_what_libraries_read_when_they_are_loaded_is_not_changed_in_silence():
    changed = {**os.environ, "NUMBA_THREADING_LAYER": "omp"}
    done = subprocess.run(
        [ready_python(), "-c", "0"], env=changed, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "NUMBA_THREADING_LAYER changed" in done.stderr


def test_what_it_starts_is_ready_too_where_that_is_asked_for():
    code = "import sys, subprocess; subprocess.run([sys.executable, '-c', 'import os, sys; "
    code += 'print("torch" in sys.modules)\'], check=True)'
    for environment, said in ((ready_environment(), "True\n"), (dict(os.environ), "False\n")):
        found = subprocess.check_output([ready_python(), "-c", code], env=environment, text=True)
        assert found == said


STARTS = """
import multiprocessing, sys
def found():
    return "torch" in sys.modules
if __name__ == "__main__":
    for method in ("spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(pool.apply(found))
"""


def test_what_multiprocessing_starts_is_ready_too_where_that_is_asked_for(tmp_path):
    (tmp_path / "starts.py").write_text(STARTS)
    command = [ready_python(), tmp_path / "starts.py"]
    for environment, said in ((ready_environment(), "True\n"), (dict(os.environ), "False\n")):
        assert subprocess.check_output(command, env=environment, text=True) == 2 * said
