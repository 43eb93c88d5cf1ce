"""A process that dies ends the job with its name, never a hang; a restart is what
test_elastic_restart.py tests."""

import datetime
import subprocess
import textwrap
import threading

import pytest
import torch.distributed as dist

from fastneg.distributed import agree_on_token
from helpers.processes import TESTS
from helpers.ready import ready_environment, ready_python

WORKER = """
import os, signal, sys, torch
sys.path.insert(0, {tests!r})
from helpers.pretraining import settings
from fastneg.training import trainer

torch.set_num_threads(1)
train_step = trainer.Trainer.train_step


def dies(self, *args, **options):
    if self.world.rank == 1 and self.step == {dies_at}:
        os.kill(os.getpid(), signal.SIGKILL)
    return train_step(self, *args, **options)


trainer.Trainer.train_step = dies
trainer.pretrain(settings({data!r}, {out!r}, log_every=3))
"""


def torchrun(tmp_path, beton, out, dies_at):
    worker = tmp_path / f"{out.name}.py"
    worker.write_text(
        textwrap.dedent(
            WORKER.format(tests=str(TESTS), data=str(beton), out=str(out), dies_at=dies_at)
        )
    )
    command = [ready_python(), "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc_per_node", "2", "--max-restarts", "0", str(worker)]
    return subprocess.run(
        command,
        timeout=300,
        capture_output=True,
        text=True,
        env=ready_environment(OMP_NUM_THREADS="1"),
    )


def test_a_lost_process_ends_the_job_with_its_name(tmp_path, beton):
    lost = torchrun(tmp_path, beton, tmp_path / "lost", dies_at=7)
    assert lost.returncode not in (0, -9)  # the job's own error, within the time limit: no hang
    assert "rank      : 1 (local_rank: 1)" in lost.stderr and "SIGKILL" in lost.stderr


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
