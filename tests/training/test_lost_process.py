"""A process that dies ends the job with its name, never a hang; torchrun's restart goes on from the
last checkpoint."""

import datetime
import os
import subprocess
import sys
import textwrap
import threading

import pytest
import torch.distributed as dist

from fastneg.distributed import agree_on_token
from helpers.pretraining import rows, same_weights
from helpers.processes import TESTS
from helpers.ready import ready_python

WORKER = """
import os, signal, sys, torch
sys.path.insert(0, {tests!r})
from helpers.pretraining import settings
from fastneg.training import trainer

torch.set_num_threads(1)
train_step = trainer.Trainer.train_step


def dies_once(self, *args, **options):
    first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    if first and self.world.rank == 1 and self.step == {dies_at}:
        os.kill(os.getpid(), signal.SIGKILL)
    return train_step(self, *args, **options)


trainer.Trainer.train_step = dies_once
trainer.pretrain(settings({data!r}, {out!r}, log_every=3))
"""


def torchrun(tmp_path, beton, out, dies_at, restarts, python=sys.executable):
    worker = tmp_path / f"{out.name}.py"
    worker.write_text(
        textwrap.dedent(
            WORKER.format(tests=str(TESTS), data=str(beton), out=str(out), dies_at=dies_at)
        )
    )
    command = [
        python,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
    ]
    command += ["--max-restarts", str(restarts), str(worker)]
    return subprocess.run(
        command,
        timeout=300,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHON_EXEC": python},
    )


def test_a_lost_process_ends_the_job_and_a_restart_ends_as_if_undisturbed(tmp_path, beton):
    whole = torchrun(
        tmp_path, beton, tmp_path / "whole", dies_at=-1, restarts=0, python=ready_python()
    )
    assert whole.returncode == 0, whole.stderr
    lost = torchrun(tmp_path, beton, tmp_path / "lost", dies_at=7, restarts=0)
    assert lost.returncode not in (0, -9)  # the job's own error, within the time limit: no hang
    assert "rank      : 1 (local_rank: 1)" in lost.stderr and "SIGKILL" in lost.stderr
    again = torchrun(tmp_path, beton, tmp_path / "again", dies_at=7, restarts=1)
    assert again.returncode == 0, again.stderr
    assert "Resuming from" in again.stdout  # the checkpoint of step 5
    assert same_weights(tmp_path / "again", tmp_path / "whole")
    assert rows(tmp_path / "again") == rows(tmp_path / "whole")


@pytest.mark.parametrize("size", [2, 4])
def test_processes_agree_whatever_earlier_ones_left_in_the_store(size):
    store = dist.HashStore()
    tokens = []
    for _ in range(3):  # starts, one after the other, on the same store
        store.set("fastneg/asks/1", "one that died before it was answered")
        found = [None] * size

        def ask(rank, found=found):
            found[rank] = agree_on_token(store, rank, size)

        threads = [threading.Thread(target=ask, args=(rank,)) for rank in range(size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(set(found)) == 1 and found[0] is not None
        tokens.append(found[0])
    assert len(set(tokens)) == 3


def test_a_process_that_never_comes_is_named(monkeypatch):
    monkeypatch.setattr("fastneg.distributed.TIMEOUT", datetime.timedelta(seconds=0.1))
    with pytest.raises(TimeoutError, match="rank 1, 2"):
        agree_on_token(dist.HashStore(), 0, 3)
