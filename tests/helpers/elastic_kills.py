"""Kills one of four processes at one phase of a training, under torchrun's own agent, which starts
all of them anew.

python -m helpers.elastic_kills FILE.beton FOLDER [PHASE:RANK …] prints a line of JSON for each;
without any it does all phases with all ranks, which takes minutes. The agent starts programs, as
torchrun lets it: forks of its own could inherit a lock that one of its threads holds.
"""

from __future__ import annotations

import datetime
import faulthandler
import json
import os
import signal
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from fastneg import distributed
from fastneg.config import PretrainConfig
from fastneg.data.load.train_loader import TrainLoader
from fastneg.training import online_knn, trainer
from helpers.pretraining import rows, same_weights, settings
from helpers.ready import TAKEN_FROM

RANKS = range(4)
DIES_AT = 7
"""The step, within the second of three epochs of five steps: there is a checkpoint of the first."""
WORKER = "--worker"
MOST_SECONDS = 240
"""A process that takes longer ends, and writes where it waits."""


def die():
    Path(os.environ["DIED"]).touch()
    os.kill(os.getpid(), signal.SIGKILL)


def around(owner, name, dies, first=True):
    """Die at the call of a function for which dies(…) is true, before it or after it."""
    plain = getattr(owner, name)

    def call(*args, **options):
        now = dies(*args)
        if now and first:
            die()
        done = plain(*args, **options)
        if now:
            die()
        return done

    setattr(owner, name, call)


def nth(count):
    """Whether it is the call of this number."""
    calls = iter(range(1, 1 << 30))
    return lambda *_: next(calls) == count


def in_a_step(prepare):
    """prepare(trainer) before the step in which the process dies."""
    plain = trainer.Trainer.train_step

    def step(self, *args):
        if self.step == DIES_AT:
            prepare(self)
        return plain(self, *args)

    trainer.Trainer.train_step = step


def in_forward():
    in_a_step(lambda run: run.method.query_encoder.register_forward_hook(lambda *_: die()))


def in_backward():
    """When the gradients of the last layers are already under way."""
    in_a_step(lambda run: next(run.method.parameters()).register_hook(lambda _: die()))


def in_the_all_reduce():
    plain, calls = distributed.data_parallel, iter(range(1 << 30))

    def hook(_, bucket):
        sent = dist.all_reduce(bucket.buffer().div_(len(RANKS)), async_op=True).get_future()
        if bucket.is_last() and next(calls) == DIES_AT:
            die()
        return sent.then(lambda done: done.value()[0])

    def data_parallel(module, world, compress=False):
        model = plain(module, world, compress)
        model.register_comm_hook(None, hook)
        return model

    distributed.data_parallel = data_parallel


def in_the_gather():
    def all_rows(rows):
        out = rows.new_empty((len(RANKS) * len(rows), *rows.shape[1:]))
        dist.all_gather_into_tensor(out, rows, async_op=True)
        die()

    in_a_step(lambda run: setattr(distributed, "all_rows", all_rows))


def while_a_checkpoint_is_written():
    """The first process in the middle of the file; another when it has handed over its part."""
    if int(os.environ["RANK"]):
        around(trainer.Trainer, "save", nth(2), first=False)
        return

    def half(state, file):
        file.write(b"PK half of a checkpoint")
        file.flush()
        die()

    plain, second = trainer.checkpoint.save, nth(2)

    def save(*args, **options):
        if second():
            torch.save = half
        return plain(*args, **options)

    trainer.checkpoint.save = save


PHASES = {
    "start": lambda: around(distributed, "start", lambda *_: True),
    "loader": lambda: around(TrainLoader, "_request", lambda self, place: place == (1, 2)),
    "forward": in_forward,
    "backward": in_backward,
    "all_reduce": in_the_all_reduce,
    "gather": in_the_gather,
    "knn": lambda: around(online_knn, "knn_votes", nth(2)),
    "epoch_end": lambda: around(trainer.Trainer, "_knn_after", nth(2), first=False),
    "checkpoint": while_a_checkpoint_is_written,
}


def work(settings, phase):
    """What each process does."""
    faulthandler.dump_traceback_later(MOST_SECONDS, exit=True)  # where a fault lets it wait
    distributed.TIMEOUT = datetime.timedelta(seconds=MOST_SECONDS / 2)
    torch.set_num_threads(1)
    victim = os.environ["RANK"] == os.environ["RANK_THAT_DIES"]
    if victim and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        PHASES[phase]()
    result = trainer.pretrain(PretrainConfig(**json.loads(settings)))
    assert result.finished
    faulthandler.cancel_dump_traceback_later()


def train(config, out, phase=None, rank=None):
    """(seconds that it took, what the processes wrote) of a training in which one dies."""
    os.environ.update({"DIED": str(out / "died"), "RANK_THAT_DIES": str(rank)})
    launch = LaunchConfig(
        *(1, 1, len(RANKS)),
        run_id=out.name,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0 if phase is None else 1,
        monitor_interval=0.1,
        logs_specs=DefaultLogsSpecs(log_dir=str(out / "logs"), redirects=Std.ALL),
    )
    settings = json.dumps(config.replace(out=str(out / "run")).as_dict())
    faulthandler.dump_traceback_later(1.7 * MOST_SECONDS, exit=True)
    began = time.monotonic()
    try:
        python = os.environ.get(TAKEN_FROM, sys.executable)
        elastic_launch(launch, python)("-m", __spec__.name, WORKER, settings, str(phase))
    except BaseException:
        print(written(out), file=sys.stderr)
        raise
    finally:
        faulthandler.cancel_dump_traceback_later()
    return time.monotonic() - began, written(out)


def written(out):
    return "".join(path.read_text() for path in sorted((out / "logs").rglob("std*.log")))


def main(data, folder, *cases):
    folder = Path(folder)
    pairs = [case.split(":") for case in cases] or [(name, n) for name in PHASES for n in RANKS]
    changes = {"bn": "shuffle", "bn_splits": None, "negatives": "none"}
    knn = int("knn" in dict(pairs))
    config = settings(data, folder, **changes, knn_every=knn, log_every=2)
    (folder / "whole").mkdir(parents=True)
    train(config, folder / "whole")
    whole = folder / "whole" / "run"
    for phase, rank in pairs:
        out = folder / f"{phase}-{rank}"
        out.mkdir()
        took, said = train(config, out, phase, rank)
        kinds = ("train", "knn")
        row = {
            "phase": phase,
            "rank": int(rank),
            "died": (out / "died").exists(),
            "seconds": round(took, 1),
            "resumed": "Resuming from" in said,
            "same_weights": same_weights(out / "run", whole),
            "same_log": all(rows(out / "run", kind) == rows(whole, kind) for kind in kinds),
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == WORKER:
        work(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
