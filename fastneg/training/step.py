"""One step of training: negatives, forward, backward, optimizer, momentum update, queue.

Every random choice of a step comes from (seed, epoch, iteration), so a run that was stopped
anywhere and resumed repeats the one that was not, bit for bit on the CPU.
Legend: N batch of this process, M non-semantic negatives per query.
"""

from __future__ import annotations

import contextlib

import torch

from fastneg import distributed
from fastneg.kernels.host_copy import to_device
from fastneg.methods import METHODS
from fastneg.methods.output import MethodOutput
from fastneg.models.encoders import at_least_float32
from fastneg.negatives.batch import make_negatives, step_seed
from fastneg.runs.gallery import write_gallery
from fastneg.training.profile import part as timed


class TrainingStep:
    """What a step needs of a run, and the step.

    Args:
        parts: what `build` returns.
        world: `World`.
    """

    def __init__(self, parts, world):
        self.config, self.world, self.device = parts.config, world, world.device
        self.run_folder, self.reader = parts.run_folder, parts.reader
        self.method, self.model, self.optimizer = parts.method, parts.model, parts.optimizer
        self.autocast, self.step = parts.autocast, parts.step
        self.iterations = len(parts.loader)
        self.total_steps = self.config.total_steps(self.iterations)
        self.draws, self.orders = torch.Generator(self.device), torch.Generator()

    def train_step(self, batch, lr):
        """One step on a `ViewBatch`; returns its statistics, still on the device."""
        with timed("negatives"):
            _, negatives = self.draw(batch)
        if self.step == 0 and self.world.first:
            normalisation = self.config.normalisation()
            write_gallery(self.run_folder, self.reader, batch, negatives, normalisation)
        inputs, parts = self.inputs(batch, negatives), self.config.accumulate or 1
        output = accumulate(self.model, inputs, self.orders, parts, self.autocast)
        with timed("optimizer"):
            norm = self.optimizer.step(lr)
        with timed("keys and momentum update"):
            keys = None if output.keys is None else distributed.gather(output.keys, self.world)
            self.method.after_step(keys, self.step / self.total_steps)
        self.similarities = output.similarities
        return {**output.stats, "gradient_norm": norm}

    def inputs(self, batch, negatives):
        """What the method takes of a batch."""
        views = batch.query, batch.key, negatives
        labelled = METHODS[self.config.method].labels
        return (*views, to_device(batch.label, self.device)) if labelled else views

    def draw(self, batch):
        """Seed all random draws of this step, torch's own for the network's dropout included;
        returns (seed, negatives)."""
        seed = step_seed(self.config.seed, self.step, self.world.rank)
        torch.manual_seed(seed)
        self.draws.manual_seed(seed)
        # Keys that are shuffled over the processes need one order for all.
        shuffled = self.config.bn == "shuffle"
        self.orders.manual_seed(step_seed(self.config.seed, self.step, 0) if shuffled else seed)
        return seed, make_negatives(batch, self.config, self.draws)


def accumulate(model, inputs, generator, parts=1, autocast=False):
    """Forward and backward of a batch in equal parts.

    The gradients add up to that of the parts' mean loss. Each part has batch statistics of its own.
    All meet the same queue, for keys enter it after the step.

    Args:
        model: a method, or one in `DistributedDataParallel`, which sends the gradients once, with
            the last part.
        inputs: query view (N, 3, H, W), key view, negatives (N, M, 3, H, W) or None, and labels
            (N,) for a method that learns from them.
        generator: CPU torch.Generator for the orders of the key batches.
        parts: how many; it divides N.
        autocast: whether the forward pass runs in bfloat16.
    Returns:
        `MethodOutput` of the batch: loss and statistics are means over the parts, keys and
            similarities stand in the batch's order.
    """
    if not autocast:  # views are float16 on a GPU, which weights in float32 do not take
        inputs = [
            at_least_float32(each) if each is not None and each.is_floating_point() else each
            for each in inputs
        ]
    outputs = []
    for part in range(parts):
        query, key, negatives, *labels = (
            None if images is None else images.chunk(parts)[part] for images in inputs
        )
        waits = part < parts - 1 and hasattr(model, "no_sync")
        with model.no_sync() if waits else contextlib.nullcontext():
            autocasting = torch.autocast(query.device.type, torch.bfloat16, enabled=autocast)
            with timed("forward"), autocasting:
                output = model(query, key, negatives, generator, *labels)
            with timed("backward"):
                (output.loss / parts).backward()
        outputs.append(output._replace(loss=output.loss.detach()))
    return outputs[0] if parts == 1 else _joined(outputs)


def _joined(outputs):
    first = outputs[0]
    return MethodOutput(
        torch.stack([output.loss for output in outputs]).mean(),
        None if first.keys is None else torch.cat([output.keys for output in outputs]),
        {
            name: torch.stack([output.stats[name] for output in outputs]).mean()
            for name in first.stats
        },
        {
            name: torch.cat([torch.atleast_1d(output.similarities[name]) for output in outputs])
            for name in first.similarities
        },
    )
