"""Python processes whose libraries are imported when they begin, which takes seconds otherwise.

`ready_python()` is for processes of which a test does not ask how they start: what they import, and
what becomes of them when whoever started them dies, is for `sys.executable` to show.
"""

import atexit
import os
import shlex
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
TAKEN_FROM = "FASTNEG_TESTS_PYTHON"
"""The variable with the path of one that all test files of a run share."""


@cache
def ready_python():
    """The path of a program that is called as Python is."""
    if TAKEN_FROM in os.environ:
        return os.environ[TAKEN_FROM]
    folder = tempfile.TemporaryDirectory()
    server, program = start_server(folder.name)
    atexit.register(folder.cleanup)
    atexit.register(server.kill)
    return program


def start_server(folder):
    """(the process of a server that ends with this thread, the path of a program that asks it for
    forks), both in the folder."""
    address, program = Path(folder) / "server", Path(folder) / "python"
    command = [sys.executable, "-I", "-S", HERE / "ready_client.py", address]
    program.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, command))} "$@"\n')
    program.chmod(0o755)
    server = subprocess.Popen(
        [sys.executable, HERE / "ready_server.py", address],
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # signals to a group of tests are for those tests
    )
    while not address.exists():
        assert server.poll() is None, "see above"
        time.sleep(0.01)
    return server, str(program)


def ready_environment(**more):
    """The environment in which what torchrun and multiprocessing start is ready too, and what a
    program starts by sys.executable."""
    return {**os.environ, "PYTHON_EXEC": ready_python(), **more}
