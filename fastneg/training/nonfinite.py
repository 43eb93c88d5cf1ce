"""Stores a step whose loss or gradient is not finite, and computes it again."""

from __future__ import annotations

import contextlib

import torch

from fastneg.config import PretrainConfig
from fastneg.errors import CheckpointError
from fastneg.files import write_atomically
from fastneg.methods import METHODS
from fastneg.runs import paths
from fastneg.runs.checkpoint import load
from fastneg.training.optim import learning_rate
from fastneg.training.resume import plain
from fastneg.training.step import accumulate

FORMAT = 1
INPUTS = ("query view", "key view", "negatives", "labels")


class NotFinite(Exception):
    """Leaves the loop, so that the loader is free to give the bad step's batch again."""


def dump(trainer):
    """Write RUN/nonfinite/step-<step>-rank<rank>.pt, which `replay` reads; returns the path.

    The optimizer has skipped every step since the first bad one, so the weights are those from
    before it; its batch can be had again by its number. The trainer is set back to before it.

    Args:
        trainer: `Trainer` outside of its loop.
    """
    trainer.step -= int(trainer.optimizer.skipped.item())
    epoch, iteration = divmod(trainer.step, trainer.iterations)
    with contextlib.closing(trainer.loader.epoch(epoch, start=iteration)) as batches:
        batch = next(batches)
    seed, negatives = trainer.draw(batch)
    state = {
        "step": trainer.step,
        "seed": seed,
        "lr": learning_rate(trainer.config, epoch, iteration, trainer.iterations),
        "autocast": trainer.autocast,
        "config": plain(trainer.config),
        "index": batch.index,
        "inputs": trainer.inputs(batch, negatives),
        "method": trainer.method.state_dict(),
    }
    path = paths.dump_path(trainer.run_folder, trainer.step + 1, trainer.world.rank)
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, lambda file: torch.save({"format": FORMAT, **state}, file))
    return path


def replay(path, device="cpu"):
    """Compute a step again that was not finite, up to its gradients.

    Query weights, batch, negatives and random numbers are those of the step. The key encoder and
    the queue are up to `log_every` steps later, because they were still updated until the log
    noticed.

    Args:
        path: the file that the run's error names.
        device: where to compute.
    Returns:
        {"step", "index", "loss", "not_finite": names of the inputs, weights, buffers and gradients
            with a NaN or an infinity}.
    Raises:
        CheckpointError: the file cannot be read.
        ValueError: it is of a run with --bn shuffle or sync, whose steps need several processes.
    """
    dump = load(path, device)
    if "inputs" not in dump:
        raise CheckpointError(
            f"{path} is not the file of a step: RUN/nonfinite/step-<step>-rank<rank>.pt was "
            "expected."
        )
    # It may be another device.
    config = PretrainConfig.read(dump["config"]).replace(cuda_graphs=False)
    if config.bn in ("shuffle", "sync"):
        raise ValueError(
            f"{path} is of a run with --bn {config.bn}: its steps need several processes, and one "
            "process cannot compute them again."
        )
    method = METHODS[config.method](config).to(device)
    method.load_state_dict(dump["method"])
    torch.manual_seed(dump["seed"])
    generator = torch.Generator().manual_seed(dump["seed"])
    output = accumulate(
        method.train(), dump["inputs"], generator, config.accumulate or 1, dump["autocast"]
    )
    named = dict(zip(INPUTS, dump["inputs"], strict=False))
    named |= {
        name: value for name, value in dump["method"].items() if isinstance(value, torch.Tensor)
    }
    named |= {
        f"gradient of {name}": parameter.grad for name, parameter in method.named_parameters()
    }
    bad = [
        name for name, value in named.items() if value is not None and not value.isfinite().all()
    ]
    return {
        "step": dump["step"] + 1,
        "index": dump["index"].tolist(),
        "loss": output.loss.item(),
        "not_finite": bad,
    }
