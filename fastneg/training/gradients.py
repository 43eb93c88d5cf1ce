"""The gradient of a batch, computed at once or in parts.

Legend: N batch of this process.
"""

from __future__ import annotations

import contextlib

import torch

from fastneg.methods.output import MethodOutput
from fastneg.models.encoders import at_least_float32
from fastneg.training.profile import part as part_of_step


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
            with part_of_step("forward"), autocasting:
                output = model(query, key, negatives, generator, *labels)
            with part_of_step("backward"):
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
            name: torch.cat([output.similarities[name] for output in outputs])
            for name in first.similarities
        },
    )
