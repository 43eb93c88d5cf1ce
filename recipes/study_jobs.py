"""Several runs at a time, each in its own process, and how they end at a signal."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import traceback

from fastneg.errors import TrainingError
from fastneg.recipes.failures import JOB_FAILURES
from fastneg.training.signals import Signals

LOOK_S = 0.5
"""Seconds between looks for a signal."""
STOP_S = 120.0
"""Seconds that a run that was told to stop may take to write its checkpoint."""


def run_all(work, tasks, jobs, threads=0):
    """Yield (task, result) of each task, as they are done.

    With one job they are done in this process, one after the other. With more, SIGTERM and SIGINT
    go on to the runs: each leaves a checkpoint, and its result names the signal that came. Where
    one fails, or whoever takes the results leaves, the others are told to stop likewise.

    Args:
        work: a function of a module, task → result, whose second entry is the signal that stopped
            it, or None.
        tasks: an iterable, from which the next is taken when a process is free; they and the
            results can be pickled.
        jobs: processes, at least 1.
        threads: of torch in each process; 0: as many as it takes.
    Raises:
        one of JOB_FAILURES, as `work` raised it. TrainingError: a process died, or `work` raised
        something else, whose traceback it holds.
    """
    if jobs == 1:
        for task in tasks:
            yield task, work(task)
        return
    waiting, workers, told = iter(tasks), [], False
    with Signals() as signals:
        try:
            for task in itertools.islice(waiting, jobs):
                workers.append(_Worker(work, threads))
                workers[-1].give(task)
            while busy := [worker for worker in workers if worker.task is not None]:
                pipes = [worker.pipe for worker in busy]
                ready = multiprocessing.connection.wait(pipes, LOOK_S)
                if signals.received is not None and not told:
                    told, waiting = True, iter(())
                    for worker in busy:
                        worker.process.terminate()
                for worker in busy:
                    if worker.pipe in ready:
                        yield worker.take(signals.received)
                        worker.give(next(waiting, None))
        finally:
            for worker in workers:
                worker.tell()
            for worker in workers:
                worker.end()


@contextlib.contextmanager
def printed_to(path):
    """Within it, what is printed is added to a file, whose folder is made: several runs at once
    would mix their lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        open(path, "a", buffering=1, encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        yield


class _Worker:
    """A process that does one task after the other.

    It is started, not forked: a process that has used CUDA cannot be.
    """

    def __init__(self, work, threads):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.task = None
        self.process = context.Process(target=_life, args=(work, theirs, threads))
        self.process.start()
        theirs.close()

    def give(self, task):
        """The next task; None for none."""
        self.task = task
        if task is not None:
            self.pipe.send(task)

    def take(self, stopped):
        """(task, result); `stopped` is the signal that all runs were told of, if any."""
        task, self.task = self.task, None
        try:
            well, result = self.pipe.recv()
        except (EOFError, OSError):
            if stopped is not None:  # it was between trainings, and has nothing to lose
                return task, (None, stopped)
            self.process.join(STOP_S)
            raise TrainingError(
                f"The process of {task} ended with {self.process.exitcode}, perhaps for want of "
                "memory: give fewer --jobs; the same command resumes from here."
            ) from None
        if not well:
            raise result
        if result[1] and stopped is not None:  # it was told by SIGTERM, whatever came here
            result = (result[0], stopped)
        return task, result

    def tell(self):
        """Let it end: at once where it works on nothing, else after a checkpoint."""
        if self.task is not None:
            self.process.terminate()
        self.pipe.close()

    def end(self):
        self.process.join(STOP_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _life(work, pipe, threads):
    # Ctrl-C reaches all processes: what it means is the parent's business
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if threads:
        import torch

        torch.set_num_threads(threads)
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        try:
            answer = True, work(task)
        except JOB_FAILURES as error:
            answer = False, error
        except Exception:
            answer = False, TrainingError(f"{task} failed:\n{traceback.format_exc()}")
        try:
            pipe.send(answer)
        except OSError:  # the parent has gone
            return


def _end_with_parent():
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGTERM)
