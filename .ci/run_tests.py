"""All test files, or those given, in batches, two at a time: a test mostly keeps one core busy, and
who is done first takes the next batch.

Each batch is a fork of one process that has imported the libraries (tests/helpers/ready_server.py).
"""

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from helpers.ready import TAKEN_FROM, start_server  # noqa: E402

LONG = (
    "tests/fake_cuda/test_training.py",
    "tests/recipes/bench/first_hour/test_run.py",
    "tests/test_examples.py",
    "tests/kernels/test_launch.py",
    "tests/recipes/bench/test_scaling.py",
    "tests/training/test_lost_process.py",
)
"""Those that take longest begin first, each alone."""
BATCHES = 20
AT_A_TIME = 2


def batches_of(files):
    """Neighbours in a folder cost alike: each batch takes every twentieth file."""
    long = [name for name in LONG if name in files]
    rest = [name for name in files if name not in LONG]
    return [[name] for name in long] + [rest[i::BATCHES] for i in range(min(BATCHES, len(rest)))]


def run(python, files):
    """Print what pytest says of one batch when it is done; its exit code."""
    with tempfile.TemporaryFile() as log:
        command = [python, "-m", "pytest", *files]
        code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT).returncode
        log.seek(0)
        text = log.read()
    sys.stdout.buffer.write(text + b"\n")
    sys.stdout.flush()
    return code


def main(files):
    files = files or sorted(
        str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py")
    )
    with tempfile.TemporaryDirectory() as folder:
        server, python = start_server(folder)
        os.environ[TAKEN_FROM] = python
        try:
            with ThreadPoolExecutor(AT_A_TIME) as pool:
                codes = list(pool.map(lambda batch: run(python, batch), batches_of(files)))
        finally:
            server.kill()
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
