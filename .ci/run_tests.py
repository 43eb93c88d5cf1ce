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
    ("tests/recipes/bench/first_hour/test_run.py",),
    ("tests/report/test_browser.py",),
    ("tests/data/beton/test_checksum_block.py", "tests/data/encode/test_ffcv.py"),
    ("tests/kernels/test_launch.py",),
    ("tests/recipes/test_demo.py",),
    ("tests/test_examples.py",),
    ("tests/fake_cuda/test_training.py",),
    ("tests/recipes/bench/test_scaling.py",),
)
"""Batches that begin first: those that take longest, and files that share FFCV's process, which
takes ten seconds to begin. In a clean checkout the first process that trains compiles Numba's
kernels for half a minute and keeps them: beside the first batch none trains."""
BATCHES = 40
"""Of the other files: the shorter the last ones are, the less a core waits for the other."""
AT_A_TIME = 2


def batches_of(files):
    """Neighbours in a folder cost alike: each batch takes every fortieth file."""
    long = [[name for name in names if name in files] for names in LONG]
    rest = [name for name in files if not any(name in names for names in LONG)]
    others = [rest[i::BATCHES] for i in range(BATCHES)]
    return [batch for batch in (*long, *others) if batch]


def prepare(environment):
    """What starts fast: no plugin of pytest, which would import Hydra and Hypothesis for each
    batch, and bytecode is kept even where the machine's environment says otherwise."""
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    environment.pop("PYTHONDONTWRITEBYTECODE", None)


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
    prepare(os.environ)
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
