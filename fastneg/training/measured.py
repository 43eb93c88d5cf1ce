"""Figures about patch negatives in a run that trains without negatives: measured, not trained on.

The run takes the very steps that it would take without: the draws are of a generator of its own, no
gradient is taken, and the statistics that batch normalisation keeps are put back.
"""

from __future__ import annotations

import torch

from fastneg.methods import METHODS
from fastneg.methods.alpha import Alphas
from fastneg.models.encoders import at_least_float32
from fastneg.negatives.batch import step_seed
from fastneg.negatives.patch import scaled_sizes
from fastneg.negatives.patch_torch import patch_negatives

STREAM = 3
"""Of the random numbers, apart from those of training."""


def measures(config, method):
    """Whether a run has its patch negatives measured: it has none of its own, and its method takes
    some. Not with --compile, for which another kind of pass is another compilation."""
    return not (config.negative_kinds() or config.compile) and hasattr(method, "alphas")


def queue_before(config, method):
    """A copy of the queue as a step finds it, (K, D); None of a run that measures nothing, or of a
    method without a queue. After the step it holds the keys of the batch."""
    if not measures(config, method) or not METHODS[config.method].queue:
        return None
    queue = getattr(method, "queue", None)  # one of a user's own may call it otherwise
    return queue.clone() if isinstance(queue, torch.Tensor) else None


def measure(method, batch, config, step, rank=0, autocast=False, queue=None):
    """One patch negative for each query of a batch, through the whole method, without a trace.

    Args:
        method: in training mode; several processes must call together.
        batch: `ViewBatch`.
        config: `PretrainConfig` of a run without negatives. alpha and the patch sizes are its own,
            or the published sizes, scaled, where those do not fit the views.
        step, rank: of the run and of this process; the negatives are drawn from them, and from the
            step alone what all processes must draw alike.
        autocast: whether the forward pass runs in bfloat16.
        queue: (K, D), of `queue_before`, in place of the method's own: a query's positive key in it
            would take a part of the softmax that it does not take in training.
    Returns:
        {"negatives", "alpha", "negative_similarity", and of methods with a softmax
        "negative_share"}, the last two 0-d tensors on the device.
    """
    device, side = batch.query.device, min(batch.query.shape[2:])
    sizes = (config.patch_min, config.patch_max)
    if sizes[1] > side:
        sizes = tuple(scaled_sizes(side).values())
    draws = torch.Generator(device).manual_seed(step_seed(config.seed, step, rank, STREAM))
    views = batch.query, batch.key, patch_negatives(batch.query, 1, sizes, draws)
    alpha, own = float(config.alpha), method.alphas
    kept = [(buffer, buffer.clone()) for buffer in method.buffers()]
    orders = torch.Generator().manual_seed(step_seed(config.seed, step, 0, STREAM))
    forked = [device] if device.type == "cuda" else []
    try:
        method.alphas = Alphas((alpha,))
        if queue is not None:
            method.queue.copy_(queue)
        with (
            torch.no_grad(),
            torch.random.fork_rng(forked),
            torch.autocast(device.type, torch.bfloat16, enabled=autocast),
        ):
            views = (view if autocast else at_least_float32(view) for view in views)
            output = method(*views, orders)
    finally:
        method.alphas = own
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)
    names = "negative_similarity", "negative_share"
    found = {name: output.stats[name] for name in names if name in output.stats}
    return {"negatives": "patch", "alpha": alpha, **found}
