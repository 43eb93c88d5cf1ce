"""Scripts that several processes of torchrun run, and what they need."""

import contextlib
import socket
import subprocess
import textwrap
from pathlib import Path

import torch

from helpers.ready import ready_environment, ready_python

TESTS = Path(__file__).resolve().parents[1]
"""The folder from which another process imports `helpers`."""


def train(tmp_path, processes, script, *arguments):
    """What the script saves, run by so many processes with these arguments after the name of its
    file."""
    worker, out = tmp_path / "worker.py", tmp_path / f"{processes}.pt"
    worker.write_text(textwrap.dedent(script))
    command = [str(worker), str(out), *arguments]
    if processes > 1:
        command = [
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc_per_node",
            str(processes),
            *command,
        ]
    environment = ready_environment(OMP_NUM_THREADS="1", PYTHONPATH=str(TESTS))
    subprocess.run([ready_python(), *command], check=True, timeout=300, env=environment)
    return torch.load(out, weights_only=True)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def holds_large_file(folder):
    """Whether a file above 8 MiB lies there; files may go while it looks."""
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > 2**23:
                return True
    return False
