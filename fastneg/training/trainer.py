"""The training loop: batches, negatives, method, optimizer, log, checkpoint.

Every random choice of a step comes from (seed, epoch, iteration), so a run that was stopped
anywhere and resumed repeats the one that was not, bit for bit on the CPU.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from fastneg import distributed
from fastneg.counts import counted
from fastneg.data.beton.shards import open_data
from fastneg.data.load.loaders import TrainLoader
from fastneg.errors import TrainingError
from fastneg.files import write_atomically
from fastneg.methods import METHODS
from fastneg.models.backbones import batch_norms, refuses
from fastneg.models.batch_norm import SplitBatchNorm2d, sync_batch_norm
from fastneg.models.preprocessing import told_of_init
from fastneg.models.weights import load_into, read_weights
from fastneg.negatives import make_negatives
from fastneg.runs import checkpoint
from fastneg.runs.environment import device_memory, environment
from fastneg.runs.gallery import write_gallery
from fastneg.runs.lock import RunLock
from fastneg.runs.log import RunLog, drop_rows_after
from fastneg.runs.outputs import pretrain_output
from fastneg.training.bad_samples import BadSamples
from fastneg.training.checks import check_batch, check_place
from fastneg.training.gradients import accumulate
from fastneg.training.meter import Clock, Meter
from fastneg.training.nonfinite import write_dump
from fastneg.training.online_knn import OnlineKnn
from fastneg.training.optim import OPTIMIZERS, learning_rate
from fastneg.training.resume import data_fingerprint, plain, refuse_another_run
from fastneg.training.signals import Signals
from fastneg.training.similarities import edges, histograms
from fastneg.version import __version__

STOP_EVERY = 10
"""Steps after which several processes ask each other whether one was told to stop, which waits for
the device."""


@dataclass(frozen=True)
class Result:
    run: Path
    step: int
    finished: bool
    """False when a signal stopped the run; its checkpoint is written."""
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


class Trainer:
    """One run: its data, method, optimizer and step; `pretrain` runs it whole, `train_step` is one
    step."""

    def __init__(self, config, world, stack):
        self.config, self.world, self.device = config, world, world.device
        check_batch(config, world)
        check_place(config, world)
        torch.manual_seed(config.seed)
        self.method = METHODS[config.method](config)
        self._check_view_sizes()
        self.run_folder = Path(config.out)
        self.reader = stack.enter_context(open_data(config.data))
        if len(self.reader) < config.batch_size:
            raise TrainingError(
                f"{config.data} holds {counted(len(self.reader), 'image')}: at least one batch of "
                f"{config.batch_size} (--batch_size) was expected."
            )
        if world.first:
            stack.callback(RunLock(self.run_folder).close)
        found = self._find_checkpoint()
        if config.init and not found:
            said = [*load_into(self.method, read_weights(config.init)), *told_of_init(config)]
            if world.first:
                print("\n".join(said), flush=True)
        self._check_batch_norm()
        self.method = self.method.to(self.device)
        if self.device.type == "cuda":
            self.method = self.method.to(memory_format=torch.channels_last)
        self.optimizer = OPTIMIZERS[config.optimizer](
            (p for p in self.method.parameters() if p.requires_grad), config
        )
        if config.compile:
            for encoder in (self.method.query_encoder, getattr(self.method, "key_encoder", None)):
                if encoder is not None:
                    encoder.compile()  # in place: names of weights stay
        self.model = distributed.data_parallel(
            self.method, world, compress=config.compress_gradients
        )
        threads = config.threads or distributed.share_of_cores(world)
        self.knn = (
            OnlineKnn(config, self.reader, world, threads, stack) if config.knn_every else None
        )
        self.loader = TrainLoader(
            self.reader,
            config.batch_size,
            config.view_size,
            **config.view_options(),
            order=config.order,
            device=self.device,
            seed=config.seed,
            rank=world.rank,
            world_size=world.size,
            threads=threads,
            check_crc=config.check_crc,
            max_bad_share=config.max_bad_share,
        )
        stack.callback(self.loader.close)
        self.iterations, self.meter = len(self.loader), Meter()
        self.step = self._restore(*found) if found else 0
        self.autocast = config.precision == "bf16" or (
            config.precision == "auto" and self.device.type == "cuda"
        )
        self.draws = torch.Generator(self.device)
        self.orders = torch.Generator()
        if world.first:
            checkpoint.remove_unfinished(self.run_folder)
            drop_rows_after(self.run_folder, self.step if found else -1)
        self.log = RunLog(
            self.run_folder,
            config.epochs * self.iterations,
            enabled=world.first,
            wandb=config.wandb,
            settings=config.as_dict(),
        )
        stack.callback(self.log.close)
        if world.first:
            self._write_settings()
        self.bad_samples = BadSamples(self.loader, world, self.log)

    def _check_view_sizes(self):
        """Refuse views of a size that the backbone does not take; of --image_size it was built, and
        tried."""
        backbone, config = self.method.query_encoder.backbone, self.config
        for size in sorted({size for _, size in config.view_sizes()} - {config.image_size}):
            if objection := refuses(backbone, size):
                raise TrainingError(
                    f"--image_size_schedule has views of {size} px, which {config.backbone}, "
                    f"built for --image_size {config.image_size}, does not take: {objection} take "
                    "another size."
                )

    def _check_batch_norm(self):
        """Say where --bn has nothing to act on; refuse where it acts on a part of the layers
        only."""
        backbone, config = self.method.query_encoder.backbone, self.config
        self.batch_norms = batch_norms(backbone)
        if not self.batch_norms and config.bn != "none" and self.world.first:
            print(
                f"{config.backbone} has no batch normalisation: nothing can leak through it, and "
                f"--bn {config.bn} does nothing.",
                flush=True,
            )
        split = sum(isinstance(module, SplitBatchNorm2d) for module in backbone.modules())
        grouped = (
            "--bn split"
            if config.bn == "split"
            else "--key_pass batched"
            if config.key_pass == "batched"
            else None
        )
        if grouped and split < self.batch_norms:
            raise TrainingError(
                f"{grouped} reaches {split} of the {counted(self.batch_norms, 'layer')} of batch "
                f"normalisation of {config.backbone}, the others are of a kind of their own: take "
                "--bn none and --key_pass separate, or another backbone."
            )
        if (
            config.bn == "sync"
            and (synced := sync_batch_norm(backbone, self.device)) < self.batch_norms
        ):
            raise TrainingError(
                f"--bn sync reaches {synced} of the {counted(self.batch_norms, 'layer')} of batch "
                f"normalisation of {config.backbone}: take --bn none."
            )
        if config.bn == "sync":
            sync_batch_norm(self.method, self.device)

    # What a run folder holds already

    def _find_checkpoint(self):
        if self.config.resume == "never":
            if checkpoint.paths(self.run_folder):
                raise TrainingError(
                    f"{self.run_folder} already holds checkpoints: choose another --out, or go on "
                    "from them with --resume auto."
                )
            return None
        return checkpoint.load_newest(
            self.run_folder, report=print if self.world.first else lambda text: None
        )

    def _restore(self, path, state):
        said = refuse_another_run(
            path, state, self.config, self.reader, self.world.size, self.iterations
        )
        try:
            self.method.load_state_dict(state["method"])
        except RuntimeError as error:
            raise TrainingError(
                f"{path} holds the weights of another network than --backbone "
                f"{self.config.backbone}: {error}"
            ) from error
        self.optimizer.load_state_dict(state["optimizer"])
        self.loader.know(state.get("quarantine", {}))
        self.meter.load(state.get("meter"), self.world)
        if self.world.first:
            print("\n".join([f"Resuming from {path} (step {state['step']}).", *said]), flush=True)
        return state["step"]

    def _write_settings(self):
        self.run_folder.mkdir(parents=True, exist_ok=True)
        for name, content in (
            ("config", self.config.as_dict()),
            ("environment", environment(self.device)),
        ):
            text = json.dumps(content, indent=2) + "\n"
            write_atomically(
                self.run_folder / f"{name}.json", lambda file, text=text: file.write(text.encode())
            )

    def save(self):
        """Write a checkpoint of this moment (the first process alone; all must call)."""
        quarantine, meter = (
            self.bad_samples.share(self.step),
            self.meter.state(lambda rows: distributed.gather(rows, self.world)),
        )
        if self.world.first:
            self.bad_samples.write(self.run_folder)
            state = {
                "step": self.step,
                "epoch": self.step / self.iterations,
                "method": self.method.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "config": plain(self.config),
                "samples": len(self.reader),
                "fingerprint": data_fingerprint(self.reader, self.config),
                "quarantine": quarantine,
                "meter": meter,
                "world_size": self.world.size,
                "versions": {"fastneg": __version__, "torch": str(torch.__version__)},
            }
            every = self.config.keep_every
            checkpoint.save(
                self.run_folder,
                self.step,
                state,
                self.config.keep_checkpoints,
                keep_too=lambda step: every is not None and step % (every * self.iterations) == 0,
            )

    # The loop

    def run(self, signals, stop_after=None):
        """Train to the end or to a signal; returns `Result`."""
        try:
            return self._run(signals, stop_after)
        except _NotFinite:
            path = self._dump()
        raise TrainingError(
            f"The loss or its gradient was not finite in step {self.step + 1}: no step was "
            f"applied from there on, and the checkpoints in {self.run_folder} are from before. "
            f"{path} holds the step: fastneg.training.nonfinite.replay runs it again and tells "
            "what is not finite. Lower --lr, or raise --temperature."
        )

    def _run(self, signals, stop_after):
        config, total = self.config, self.config.epochs * self.iterations
        self.stopping = lambda: distributed.any_rank(signals.received is not None, self.world)
        if self.step >= total:
            if self._knn_after(config.epochs - 1):  # which a signal may have ended
                return self._leave(signals)
            self.log.say(f"{self.run_folder} is finished: {counted(self.step, 'step')} of {total}.")
            return self._result()
        self.log.row(
            "start",
            self.step,
            {
                "total_steps": total,
                "samples": len(self.reader),
                "processes": self.world.size,
                "batch_norms": self.batch_norms,
            },
        )
        self.log.begin(self.step)
        clock, last = Clock(), self.step + (stop_after or total)
        self.model.train()
        # A signal may have come between an epoch's last step and its kNN, or during that.
        if (
            self.step
            and self.step % self.iterations == 0
            and self._knn_after(self.step // self.iterations - 1)
        ):
            return self._leave(signals)
        for epoch in range(self.step // self.iterations, config.epochs):
            batches = self.loader.epoch(epoch, start=self.step % self.iterations)
            with contextlib.closing(batches):
                for batch in clock.wait(batches):
                    lr = learning_rate(config, epoch, self.step % self.iterations, self.iterations)
                    self.meter.add(self.train_step(batch, lr))
                    self.step += 1
                    self.bad_samples.tell(self.step)
                    clock.count(config.batch_size)
                    logging = self.step % config.log_every == 0 or self.step == total
                    if logging:
                        self._log(epoch, lr, clock)
                    stopping = signals.received is not None or self.step >= last
                    if logging or self.world.size == 1 or self.step % STOP_EVERY == 0:
                        stopping = distributed.any_rank(stopping, self.world)
                        if stopping and self.step < total:
                            return self._leave(signals)
            with clock.paused():
                stopped = self._knn_after(epoch)
            if stopped:
                return self._leave(signals)
            if (epoch + 1) % config.checkpoint_every == 0 or epoch + 1 == config.epochs:
                self._refuse_bad_weights()
                self.save()
        return self._result()

    def _result(self, finished=True, signal=None):
        return Result(self.run_folder, self.step, finished, signal, self.world.first)

    def train_step(self, batch, lr):
        """One step on a `ViewBatch`; returns its statistics, still on the device."""
        _, negatives = self._draw(batch)
        if self.step == 0 and self.world.first:
            normalisation = self.config.normalisation()
            write_gallery(self.run_folder, self.reader, batch, negatives, normalisation)
        inputs, parts = (batch.query, batch.key, negatives), self.config.accumulate or 1
        output = accumulate(self.model, inputs, self.orders, parts, self.autocast)
        norm = self.optimizer.step(lr)
        keys = None if output.keys is None else distributed.gather(output.keys, self.world)
        self.method.after_step(keys, self.step / (self.config.epochs * self.iterations))
        self.similarities = output.similarities
        return {**output.stats, "gradient_norm": norm}

    def _draw(self, batch):
        """Seed all random draws of this step, torch's own for the network's dropout included;
        returns (seed, negatives)."""
        seed = _mix(self.config.seed, self.step, self.world.rank)
        torch.manual_seed(seed)
        self.draws.manual_seed(seed)
        # one order for all
        self.orders.manual_seed(
            _mix(self.config.seed, self.step, 0) if self.config.bn == "shuffle" else seed
        )
        return seed, make_negatives(batch, self.config, self.draws)

    def _log(self, epoch, lr, clock):
        figures = self.meter.read(lambda values: distributed.average(values, self.world))
        self._refuse_bad_weights()
        if self.config.queue_size:
            # of the oldest key in it
            figures["queue_age_steps"] = min(
                self.step, self.config.queue_size / self.config.batch_size
            )
        figures |= {
            "bad_samples": self.bad_samples.count(),
            **clock.read(),
            **device_memory(self.device),
        }
        self.log.row("train", self.step, {"epoch": epoch, "lr": lr, **figures})
        # the last line of an epoch
        if self.step + self.config.log_every > (epoch + 1) * self.iterations:
            counts = (
                distributed.average(histograms(self.similarities), self.world) * self.world.size
            )
            self.log.histograms(
                self.step,
                dict(zip(self.similarities, counts.round().int().tolist(), strict=True)),
                edges(),
            )

    def _knn_after(self, epoch):
        """Measure and log the kNN accuracy where it is due after an epoch and not logged yet;
        whether a signal ended that."""
        config = self.config
        if self.knn is None or ((epoch + 1) % config.knn_every and epoch + 1 != config.epochs):
            return False
        if distributed.any_rank(self.world.first and self.log.has("knn", self.step), self.world):
            return False
        self._refuse_bad_weights()
        figures = self.knn(self.method.query_encoder.backbone, self.autocast, self.stopping)
        if figures is not None:
            self.log.row("knn", self.step, {"epoch": epoch, **figures})
        return figures is None

    def _refuse_bad_weights(self):
        if self.optimizer.bad.item():
            raise _NotFinite

    def _dump(self):
        """Write down the first step that was not finite: the weights are from before it, and its
        batch can be had again."""
        self.step -= int(self.optimizer.skipped.item())
        epoch, iteration = divmod(self.step, self.iterations)
        with contextlib.closing(self.loader.epoch(epoch, start=iteration)) as batches:
            batch = next(batches)
        seed, negatives = self._draw(batch)
        state = {
            "step": self.step,
            "seed": seed,
            "lr": learning_rate(self.config, epoch, iteration, self.iterations),
            "autocast": self.autocast,
            "config": plain(self.config),
            "index": batch.index,
            "inputs": (batch.query, batch.key, negatives),
            "method": self.method.state_dict(),
        }
        return write_dump(self.run_folder, self.world.rank, state)

    def _leave(self, signals):
        self._refuse_bad_weights()
        self.save()
        self.log.say(f"Stopped at step {self.step}; the same command goes on from here.")
        # it may have reached another process
        number = distributed.highest(signals.received or 0, self.world)
        return self._result(finished=False, signal=int(number) or None)


class _NotFinite(Exception):
    """Leaves the loop, so that the loader is free to give the bad step's batch again."""


def _mix(seed, step, rank):
    """One 63-bit seed from three numbers: the streams of different steps and processes do not
    overlap."""
    return int(np.random.SeedSequence([seed, 2, step, rank]).generate_state(1, np.uint64)[0] >> 1)
