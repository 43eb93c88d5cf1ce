"""Tasks of srun, which it tells of their places by SLURM_* variables: they train together and stop
together."""

import contextlib
import os
import signal
import subprocess
import time

from fastneg.runs import checkpoint
from helpers.pretraining import rows, settings
from helpers.processes import free_port
from helpers.ready import ready_python


@contextlib.contextmanager
def srun(config, tasks=2):
    """So many processes of the command line, as srun starts them, as if each were on a machine of
    its own."""
    flags = [
        f"--{name}={value}" for name, value in config.as_dict().items() if value not in (None, "")
    ]
    command = [ready_python(), "-m", "fastneg", "pretrain", "--preset=tiny_cpu", *flags]
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    }
    kept |= {"OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    environments = [
        {
            **kept,
            "SLURM_PROCID": str(task),
            "SLURM_LOCALID": "0",
            "SLURM_STEP_NUM_TASKS": str(tasks),
        }
        for task in range(tasks)
    ]
    started = [
        subprocess.Popen(
            command, env=each, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for each in environments
    ]
    try:
        yield started
    finally:
        for task in started:
            task.kill()
            task.communicate()


def test_tasks_of_srun_train_together_and_stop_together(beton, tmp_path):
    config = settings(beton, tmp_path / "run", bn="none", bn_splits=None, epochs=200)
    with srun(config) as tasks:
        log, until = tmp_path / "run" / "metrics.jsonl", time.monotonic() + 200
        while not (log.exists() and len(rows(tmp_path / "run")) > 2):
            assert time.monotonic() < until and all(task.poll() is None for task in tasks)
            time.sleep(0.05)
        tasks[1].send_signal(signal.SIGTERM)  # to one is enough
        said = [task.communicate(timeout=200) for task in tasks]
        assert [task.returncode for task in tasks] == [143, 143], said
    assert "Stopped at step" in said[0][0] and said[1][0] == ""
    assert "Grad strides do not match" not in said[0][1]
    assert checkpoint.load_newest(tmp_path / "run")[1]["step"] == rows(tmp_path / "run")[-1]["step"]
    assert rows(tmp_path / "run", "start")[0]["processes"] == 2
