"""What a step whose loss or gradient is not finite leaves behind, and how it is looked at again."""

from __future__ import annotations

from pathlib import Path

import torch

from fastneg.config import PretrainConfig
from fastneg.errors import CheckpointError
from fastneg.files import write_atomically
from fastneg.methods import METHODS
from fastneg.runs.checkpoint import load
from fastneg.training.gradients import accumulate

FORMAT = 1


def write_dump(run, rank, state):
    """Write RUN/nonfinite/step-<step>-rank<rank>.pt, which `replay` reads; returns the path.

    Args:
        state: {"step": steps before the bad one, "seed": of its random draws, "lr", "autocast",
            "config": plain, "index": (N,) samples, "inputs": (query view, key view, negatives or
            None), "method": state dict}.
    """
    folder = Path(run) / "nonfinite"
    folder.mkdir(exist_ok=True)
    path = folder / f"step-{state['step'] + 1:09d}-rank{rank}.pt"
    write_atomically(path, lambda file: torch.save({"format": FORMAT, **state}, file))
    return path


def replay(path, device="cpu"):
    """Run a dumped step again, up to its gradients.

    Query weights, batch, negatives and draws are those of the step. The key encoder and the queue
    went on following for the steps until the log noticed, at most `log_every`, so they are a little
    later.

    Args:
        path: what a run that stopped names in its error.
        device: where to compute.
    Returns:
        {"step", "index", "loss", "not_finite": names of the inputs, weights, buffers and gradients
        that hold a NaN or an infinity}.
    Raises:
        CheckpointError: the file cannot be read.
        ValueError: it is of a run with --bn shuffle or sync, whose steps are not those of one
            process.
    """
    dump = load(path, device)
    if "inputs" not in dump:
        raise CheckpointError(
            f"{path} is no dump of a step: RUN/nonfinite/step-<step>-rank<rank>.pt was expected."
        )
    config = PretrainConfig(**dump["config"]).replace(cuda_graphs=False)  # it may be another device
    if config.bn in ("shuffle", "sync"):
        raise ValueError(
            f"{path} is of a run with --bn {config.bn}: its steps take several processes, and one "
            "cannot run them again."
        )
    method = METHODS[config.method](config).to(device)
    method.load_state_dict(dump["method"])
    torch.manual_seed(dump["seed"])
    generator = torch.Generator().manual_seed(dump["seed"])
    output = accumulate(
        method.train(), dump["inputs"], generator, config.accumulate or 1, dump["autocast"]
    )
    named = dict(zip(("query view", "key view", "negatives"), dump["inputs"], strict=True))
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
