"""The training loop: epochs of batches, log, kNN, checkpoints, signals.

One step of it is in step.py, what a run is made of in build.py.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from fastneg import distributed
from fastneg.counts import counted
from fastneg.errors import TrainingError
from fastneg.runs import checkpoint
from fastneg.runs.checkpoint_writer import CheckpointWriter
from fastneg.runs.environment import device_memory
from fastneg.runs.log import ACCURACY_MOST
from fastneg.runs.outputs import pretrain_output
from fastneg.training.build import build
from fastneg.training.measured import measure, measures, queue_before
from fastneg.training.meter import Clock, edges, histograms
from fastneg.training.nonfinite import NotFinite, dump
from fastneg.training.optim import learning_rate
from fastneg.training.profile import Profile
from fastneg.training.resume import state_of
from fastneg.training.signals import Signals
from fastneg.training.step import TrainingStep

STOP_EVERY = 10
"""Steps after which several processes ask each other whether one was told to stop, which waits for
the device."""


@dataclass(frozen=True)
class Result:
    run: Path
    step: int
    finished: bool
    """False when a signal stopped the run; its checkpoint is written then."""
    signal: int | None = None
    first: bool = True
    """Whether this is the process that writes and speaks for all."""


def pretrain(config, stop_after=None):
    """Train as the config says.

    Args:
        config: `PretrainConfig` with data and out.
        stop_after: leave as if by SIGTERM after this many steps of this call.
    Returns:
        `Result`.
    Raises:
        TrainingError, CheckpointError, BetonError: each says what to do. OutputError: the run
            folder is, or holds, an input.
    """
    pretrain_output(config)
    world = distributed.start(config.device)
    with Signals() as signals:
        with contextlib.ExitStack() as stack:
            result = Trainer(config, world, stack).run(signals, stop_after)
        distributed.stop()
    return result


class Trainer(TrainingStep):
    """One run: its parts and its loop. `pretrain` runs it whole.

    Args:
        config: `PretrainConfig`.
        world: `World`.
        stack: ExitStack that closes what the run opens.
    Raises:
        TrainingError, CheckpointError, ConfigError, BetonError: see `build`.
    """

    def __init__(self, config, world, stack):
        parts = build(config, world, stack)
        super().__init__(parts, world)
        self.log, self.bad_samples = parts.log, parts.bad_samples
        self.loader, self.knn, self.batch_norms = parts.loader, parts.knn, parts.batch_norms
        self.meter, self.clock = parts.meter, Clock(self.device)
        profiled = self.config.profile if world.first else 0
        self.profile = Profile(self.run_folder, profiled, self.device, self.log.say)
        self.epochs = self.config.total_epochs(self.iterations)
        self.writer = CheckpointWriter()

    def run(self, signals, stop_after=None):
        """Train to the end or to a signal; returns `Result`.

        Args:
            signals: `Signals`.
            stop_after: leave as if by a signal after this many steps.
        Raises:
            TrainingError: the loss or its gradient was not finite.
        """
        self.signals, self.last = signals, self.step + (stop_after or self.total_steps)
        try:
            result = self._run()
            self.writer.wait()
            return result
        except NotFinite:
            path = dump(self)
        finally:
            self.profile.close(self.step)
            # only where another error is on its way
            if (late := self.writer.close()) is not None:
                self.log.say(str(late))
        raise TrainingError(
            f"The loss or its gradient was not finite in step {self.step + 1}: this step and later "
            f"ones were not applied, and the checkpoints in {self.run_folder} are from before. "
            f"{path} holds the step: fastneg.training.nonfinite.replay computes it again and names "
            "what is not finite. Lower --lr, or raise --temperature."
        )

    def _run(self):
        config = self.config
        finished = self.step >= self.total_steps
        if not finished:
            self._begin()
        # A signal may have come between an epoch's last step and its kNN, or during that.
        ended = finished or not self.step % self.iterations
        if self.step and ended and self._knn_after((self.step - 1) // self.iterations):
            return self._leave()
        if finished:
            self.log.say(
                f"{self.run_folder} is finished: {counted(self.step, 'step')} of "
                f"{self.total_steps}."
            )
            return self._result()
        for epoch in range(self.step // self.iterations, self.epochs):
            if self._train_epoch(epoch):
                return self._leave()
            with self.clock.paused():
                stopped = self._knn_after(epoch)
            if stopped:
                return self._leave()
            if (epoch + 1) % config.checkpoint_every == 0 or epoch + 1 == self.epochs:
                self._refuse_bad_weights()
                self.save()
        return self._result()

    def _begin(self):
        figures = {
            "total_steps": self.total_steps,
            "samples": len(self.reader),
            "processes": self.world.size,
            "batch_norms": self.batch_norms,
            ACCURACY_MOST: 1.0,
        }
        self.log.row("start", self.step, figures)
        self.log.begin(self.step)
        self.clock.start()
        self.model.train()

    def _train_epoch(self, epoch):
        """The steps of an epoch that are left; whether to leave the run within it."""
        batches = self.loader.epoch(epoch, start=self.step % self.iterations)
        with contextlib.closing(batches):
            for batch in self.clock.wait(batches):
                lr = learning_rate(self.config, epoch, self.step % self.iterations, self.iterations)
                last = self._last_line(epoch, self.step + 1)
                queue = queue_before(self.config, self.method) if last else None
                with self.clock.step():
                    stats = self.train_step(batch, lr)
                self.meter.add(stats)
                self.step += 1
                self.profile.tick(self.step)
                self.writer.look()
                self.bad_samples.tell(self.step)
                self.clock.count(self.config.batch_size)
                if logging := self._has_line(self.step):
                    self._log(epoch, lr)
                if last:
                    with self.clock.paused():
                        self._measure(batch, queue)
                if self._stopping(logging):
                    return True
                if self.step == self.total_steps:
                    break  # --steps may end within an epoch
        return False

    def _stopping(self, logging):
        """Whether to leave after this step; all processes decide alike, and together."""
        told = self.signals.received is not None or self.step >= self.last
        # To ask the others is to wait for the device, which a step with a log line does anyway.
        if logging or self.world.size == 1 or self.step % STOP_EVERY == 0:
            return distributed.any_rank(told, self.world) and self.step < self.total_steps
        return False

    def _leave(self):
        self._refuse_bad_weights()
        self.save()
        self.writer.wait()
        self.log.say(f"Stopped at step {self.step}; the same command resumes from here.")
        # The signal may have reached another process.
        number = distributed.highest(self.signals.received or 0, self.world)
        return self._result(finished=False, signal=int(number) or None)

    def _result(self, finished=True, signal=None):
        return Result(self.run_folder, self.step, finished, signal, self.world.first)

    def _refuse_bad_weights(self):
        """Leave the loop if a gradient was not finite since the last look, which waits for the
        device."""
        if self.optimizer.bad.item():
            raise NotFinite

    # What is written

    def save(self):
        """Begin to write a checkpoint of this moment (the first process alone; all must call).

        Raises:
            CheckpointError: the one before could not be written.
        """
        quarantine = self.bad_samples.share(self.step)
        meter = self.meter.state(lambda rows: distributed.gather(rows, self.world))
        if not self.world.first:
            return
        self.bad_samples.write(self.run_folder)
        state = state_of(
            self.step,
            self.config,
            self.world,
            self.reader,
            self.loader,
            self.method,
            self.optimizer,
            quarantine,
            meter,
        )
        self.writer.begin(state, partial(self._write, self.step))

    def _write(self, step, state):
        every = self.config.keep_every
        checkpoint.save(
            self.run_folder,
            step,
            state,
            self.config.keep_checkpoints,
            keep_too=lambda step: every is not None and step % (every * self.iterations) == 0,
        )

    def _log(self, epoch, lr):
        figures = self.meter.read(lambda values: distributed.average(values, self.world))
        self._refuse_bad_weights()
        if self.config.queue_size:
            # Of the oldest key in it.
            age = min(self.step, self.config.queue_size / self.config.batch_size)
            figures["queue_age_steps"] = age
        figures["bad_samples"] = self.bad_samples.count()
        figures |= {**self.clock.read(self.total_steps - self.step), **device_memory(self.device)}
        self.log.row("train", self.step, {"epoch": epoch, "lr": lr, **figures})
        if self._last_line(epoch, self.step):
            self._log_similarities()

    def _has_line(self, step):
        """Whether a line of the log follows this step."""
        return step % self.config.log_every == 0 or step == self.total_steps

    def _last_line(self, epoch, step):
        """Whether the line after this step is the last one of an epoch."""
        end = min((epoch + 1) * self.iterations, self.total_steps)
        return self._has_line(step) and step + self.config.log_every > end

    def _measure(self, batch, queue):
        """Log what patch negatives would be to a run without any."""
        if not measures(self.config, self.method):
            return
        place = self.step, self.world.rank
        found = measure(self.method, batch, self.config, *place, self.autocast, queue)
        names = [name for name, value in found.items() if isinstance(value, torch.Tensor)]
        values = torch.stack([found[name].float() for name in names])
        values = distributed.average(values, self.world).tolist()
        self.log.row("measured", self.step, {**found, **dict(zip(names, values, strict=True))})

    def _log_similarities(self):
        if not self.similarities:  # a method of a user's own need not give any
            return
        counts = distributed.average(histograms(self.similarities), self.world) * self.world.size
        by_kind = zip(self.similarities, counts.round().int().tolist(), strict=True)
        self.log.histograms(self.step, dict(by_kind), edges())

    def _knn_after(self, epoch):
        """Measure and log the kNN accuracy where it is due after an epoch and not logged yet;
        whether a signal ended that."""
        config = self.config
        if self.knn is None or ((epoch + 1) % config.knn_every and epoch + 1 != self.epochs):
            return False
        if distributed.any_rank(self.world.first and self.log.has("knn", self.step), self.world):
            return False
        self._refuse_bad_weights()
        stopping = lambda: distributed.any_rank(self.signals.received is not None, self.world)
        figures = self.knn(self.method.query_encoder.backbone, self.autocast, stopping)
        if figures is not None:
            self.log.row("knn", self.step, {"epoch": epoch, **figures})
        return figures is None
