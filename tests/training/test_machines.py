"""Two agents of torchrun, one a machine: where one is killed, all end in time, with a
checkpoint."""

import json
import os
import socket
import subprocess
import time

from fastneg.runs import checkpoint
from helpers.pretraining import rows, settings
from helpers.processes import free_port
from helpers.ready import ready_python


def listens(port):
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def test_an_agent_that_is_killed_ends_the_job_with_a_checkpoint(beton, tmp_path):
    """Its process is told by the kernel, and tells the others: it would train on unwatched, and the
    other agent wait for minutes."""
    config, port, until = (
        settings(beton, tmp_path / "run", bn="none", bn_splits=None, epochs=1000),
        free_port(),
        time.monotonic() + 500,
    )
    # The agents are ready, so that they start at once; their processes are Python's own.
    command = [ready_python(), "-m", "torch.distributed.run", "--nnodes", "2"]
    command += ["--nproc_per_node", "1", "--rdzv_backend", "c10d"]
    command += ["--rdzv_endpoint", f"127.0.0.1:{port}"]
    command += ["-m", "fastneg", "pretrain", "--preset=tiny_cpu"]
    command += [
        f"--{name}={value}" for name, value in config.as_dict().items() if value not in (None, "")
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    agents = []

    def wait(what):
        while not what():
            assert time.monotonic() < until and all(agent.poll() is None for agent in agents)
            time.sleep(0.05)

    try:
        for _ in range(2):
            agents.append(
                subprocess.Popen(
                    command,
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
            wait(lambda: listens(port))  # so that the first one is where they meet
        wait(
            lambda: (
                (tmp_path / "run" / "metrics.jsonl").exists() and len(rows(tmp_path / "run")) > 2
            )
        )
        agents[1].kill()
        said = agents[0].communicate(timeout=500)[0]
    finally:
        for agent in agents:
            agent.kill()
            agent.wait()
    assert agents[0].returncode == 1 and "exitcode  : 143" in said, said
    assert (
        checkpoint.load_newest(tmp_path / "run")[1]["step"]
        == rows(tmp_path / "run")[-1]["step"]
        < 5000
    )
    assert json.loads((tmp_path / "run" / "config.json").read_text())["epochs"] == 1000
