"""What `fastneg bench step` measures: fastneg's own training step, with one thing changed in
turn."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import NamedTuple
from unittest import mock

import torch

from fastneg import distributed
from fastneg.data.load.batch import ViewBatch
from fastneg.recipes.bench.loader_process import ProcessLoader
from fastneg.recipes.bench.measuring import bench_device
from fastneg.recipes.bench.photos import write_photos
from fastneg.recipes.bench.plain_moco import eager_info_nce, reallocating_update
from fastneg.runs.log import RunLog
from fastneg.training.optim import GuardedSGD
from fastneg.training.trainer import Trainer


@dataclass(frozen=True)
class Variant:
    """One contender: fastneg's step with one thing changed."""

    changes: dict = field(default_factory=dict)
    """Of the config."""
    patches: dict = field(default_factory=dict)
    """{name in fastneg.methods.moco_torch: what takes its place while this contender runs}."""
    prepare: object = None
    """Called with the trainer once."""


def variants(device):
    """{contender: Variant}: everything on, then each feature off in turn, then options that are off
    by default."""
    found = {
        "fastneg": Variant(),
        "without_negatives": Variant({"negatives": "none"}),
        "without_fused_loss": Variant(patches={"info_nce": eager_info_nce}),
        "without_fused_optimizer": Variant(prepare=_loop_optimizer),
        "without_foreach_momentum": Variant(patches={"momentum_update": reallocating_update}),
        "without_channels_last": Variant(prepare=_contiguous),
        "without_split_bn": Variant({"bn": "none"}),
        "with_batched_key_pass": Variant({"key_pass": "batched"}),
    }
    if device == "cpu":
        found["with_fused_bn"] = Variant({"fused_bn": "on"})
    if device == "cuda":
        found["without_fused_bn"] = Variant({"fused_bn": "off"})
        found["without_bf16"] = Variant({"precision": "fp32"})
        found["with_compile"] = Variant({"compile": True})
        found["with_cuda_graphs"] = Variant({"cuda_graphs": True})
    return found


class _LoopSGD(GuardedSGD):
    """The same update, parameter by parameter, and without the guard."""

    def __init__(self, parameters, config):
        super().__init__(parameters, config)
        group = self.sgd.param_groups[0]
        self.sgd = torch.optim.SGD(
            self.parameters,
            group["lr"],
            group["momentum"],
            weight_decay=group["weight_decay"],
            foreach=False,
            fused=False,
        )

    def step(self, lr):
        self.sgd.param_groups[0]["lr"] = lr
        norm = torch.nn.utils.get_total_norm(
            [parameter.grad for parameter in self.parameters], foreach=False
        )
        self.sgd.step()
        self.sgd.zero_grad(set_to_none=True)
        return norm


def _loop_optimizer(trainer):
    trainer.optimizer = _LoopSGD(trainer.optimizer.parameters, trainer.config)


def loader_in_a_process(trainer):
    """Let the batches come from a loader in a process of its own."""
    config, world = trainer.config, trainer.world
    threads = config.threads or distributed.share_of_cores(world)
    loader = ProcessLoader(trainer.loader, config, world, threads)
    trainer.loader.close()
    trainer.loader = loader


def _contiguous(trainer):
    trainer.method.to(memory_format=torch.contiguous_format)


class ReadyBatches:
    """In a loader's place where batches are not what is measured: one batch of random numbers that
    stays on the device. It reads nothing, so it needs neither DALI nor images.

    Args: as of `TrainLoader`, of which it takes what it needs.
    """

    def __init__(self, reader, batch_size, image_size, *, device, seed=0, rank=0, **unused):
        self.reader, self.quarantine = reader, {}
        size = image_size(0) if callable(image_size) else image_size
        g = torch.Generator(device).manual_seed(seed + rank)
        half = torch.float16 if torch.device(device).type == "cuda" else torch.float32
        shape = (batch_size // unused.get("world_size", 1), 3, size, size)
        view = lambda: torch.randn(shape, generator=g, device=device).to(
            half, memory_format=torch.channels_last
        )
        self.batch = ViewBatch(view(), view(), torch.arange(shape[0]), None)

    def __len__(self):
        return 1

    def epoch(self, epoch, start=0):
        yield self.batch

    def know(self, bad):
        pass

    def close(self):
        pass


def _no_log(run, total_steps, **options):
    """In a log's place: TensorBoard need not be there."""
    return RunLog(run, total_steps, **options | {"enabled": False})


class EpochFigures(NamedTuple):
    samples_per_s: float
    data_wait_share: float
    """Of the time, in which the host waited for data."""
    cpu_ms_per_sample: float
    """Processor time of this process, and of the loader's own."""


class Contender:
    """A trainer on a small data set, and one of its batches that stays on the device.

    Args:
        config: `PretrainConfig`.
        variant: `Variant`.
        folder: of its run.
        data: the .beton file.
        stack: closes what it opens.
        world: `World`; None: this process alone.
        ready: train on `ReadyBatches`, which takes no DALI and of the file only its length.
    """

    def __init__(self, config, variant, folder, data, stack, world=None, ready=False):
        self.config, self.variant = (
            config.replace(data=str(data), out=str(folder), resume="never", **variant.changes),
            variant,
        )
        world = world or distributed.World(0, 1, torch.device(bench_device()))
        with contextlib.ExitStack() as patches:
            if ready:
                for name, substitute in (("TrainLoader", ReadyBatches), ("RunLog", _no_log)):
                    place = f"fastneg.training.build.{name}"
                    patches.enter_context(mock.patch(place, substitute))
            self.trainer = Trainer(self.config, world, stack)
        if ready:
            self.trainer.step = 1  # the first draws a gallery of the file's images
        if variant.prepare:
            variant.prepare(self.trainer)
            stack.callback(lambda: self.trainer.loader.close())  # it may be another
        self.trainer.model.train()
        self.batch = next(iter(self.trainer.loader.epoch(0)))
        if variant.prepare is _contiguous:
            self.batch = self.batch._replace(
                query=self.batch.query.contiguous(), key=self.batch.key.contiguous()
            )

    def __call__(self):
        with self._patched():
            self.trainer.train_step(self.batch, self.config.lr)
            self.trainer.step += 1

    @contextlib.contextmanager
    def _patched(self):
        with contextlib.ExitStack() as stack:
            for name, substitute in self.variant.patches.items():
                stack.enter_context(mock.patch(f"fastneg.methods.moco_torch.{name}", substitute))
            yield

    def epoch(self, number):
        """`EpochFigures` of one epoch through the loader, its first two batches left out."""
        waited, began, count = 0.0, None, 0
        batches = self.trainer.loader.epoch(number)
        with contextlib.closing(batches):
            for position in range(len(self.trainer.loader)):
                asked = time.perf_counter()
                batch = next(batches)
                if began is not None:
                    waited += time.perf_counter() - asked
                    count += len(batch.query)
                self.trainer.train_step(batch, self.config.lr)
                self.trainer.step += 1
                if position == 1:
                    synchronize()
                    began, cpu = time.perf_counter(), self._cpu_s()
            synchronize()
        elapsed = time.perf_counter() - began
        spent = 1000 * (self._cpu_s() - cpu) / count
        return EpochFigures(count / elapsed, waited / elapsed, spent)

    def _cpu_s(self):
        """Processor time so far, of this process and of the loader's if it has one."""
        return time.process_time() + getattr(self.trainer.loader, "child_cpu_s", 0.0)


def ready_contender(config, variant, folder, stack, world=None):
    """A `Contender` on `ReadyBatches`, in a folder that gets its .beton file too."""
    data = folder / "few.beton"
    write_photos(data, config.batch_size, 1)
    return Contender(config, variant, folder / "run", data, stack, world, ready=True)


def synchronize():
    """Wait for the GPU, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
