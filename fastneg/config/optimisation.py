"""Settings of pre-training: length, optimizer, learning rate, seed, initial weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeVar

from fastneg.config.base import Config
from fastneg.options import LARGEST_SEED, ConfigError, option

T = TypeVar("T", bound=Config)
EPOCHS = 200


@dataclass(frozen=True)
class OptimisationPart(Config):
    epochs: int = option(EPOCHS, at_least=1)
    """Passes over the data."""
    steps: int | None = option(None, at_least=1)
    """Steps of the run, instead of --epochs. The run may end within an epoch."""
    batch_size: int = option(128, at_least=1)
    """Images per step, over all processes."""
    optimizer: str = option("sgd", choices=("sgd", "lars", "adamw"))
    """sgd. lars: SGD with a rate for each layer, for batches of thousands. adamw: for vision
    transformers."""
    lr: float = option(0.03, above=0.0)
    """The highest learning rate, for this batch size (it is not scaled)."""
    lr_schedule: str = option("cosine_epoch", choices=("cosine_epoch", "cosine_step"))
    """Cosine decay to 0, updated each epoch (as published for MoCo) or each step."""
    warmup_epochs: int = option(0, at_least=0)
    """Epochs at the start in which the learning rate rises linearly, step by step. The cosine decay
    covers the remaining epochs."""
    sgd_momentum: float = option(0.9, at_least=0.0, below=1.0)
    """Momentum of sgd and lars; for adamw the decay of the mean gradient (its first beta)."""
    weight_decay: float = option(1e-4, at_least=0.0)
    """For sgd: L2 penalty on all parameters. For lars (L2 penalty) and adamw (weight decay): on all
    parameters except biases and normalisation."""
    adam_beta2: float | None = option(
        None, above=0.0, below=1.0, by=("optimizer", {"adamw": 0.999})
    )
    """Decay of adamw's mean squared gradient."""
    lars_trust: float | None = option(None, above=0.0, by=("optimizer", {"lars": 0.001}))
    """Trust coefficient of LARS: the norm of a layer's step as a fraction of the norm of its
    weights, at learning rate 1."""
    seed: int = option(0, at_least=0, at_most=LARGEST_SEED)
    """Seeds the initial weights, the order, the views and, with separate random streams, the
    negatives."""
    init: str = ""
    """Weights to start from: a checkpoint or state dict of any project that holds this backbone's
    tensors under one prefix, or another run folder."""
    init_prefix: str = ""
    """The prefix of the backbone in the file of --init; default: it is found."""

    def span(self, iterations: int) -> float:
        """The length of the run in epochs of so many steps, over which the schedules reach."""
        return self.epochs if self.steps is None else self.steps / iterations

    def total_steps(self, iterations: int) -> int:
        """Steps of the run, where an epoch has so many."""
        return self.epochs * iterations if self.steps is None else self.steps

    def total_epochs(self, iterations: int) -> int:
        """Epochs of the run, the last of which --steps may leave incomplete."""
        return math.ceil(self.span(iterations))

    def replace(self: T, **changes: Any) -> T:
        """As `Config.replace`; of epochs and steps the one that changes takes the other's place."""
        if changes.get("steps") is not None:
            if changes.setdefault("epochs", EPOCHS) != EPOCHS:
                raise ConfigError(_BOTH.format(changes["epochs"], changes["steps"]))
        elif "epochs" in changes:
            changes.setdefault("steps", None)
        return super().replace(**changes)

    def _check(self):
        if self.steps is not None and self.epochs != EPOCHS:
            raise ConfigError(_BOTH.format(self.epochs, self.steps))
        if self.steps is None and self.warmup_epochs >= self.epochs:
            raise ConfigError(
                f"--warmup_epochs is {self.warmup_epochs}: it must be less than --epochs "
                f"{self.epochs}."
            )


_BOTH = "--epochs is {} and --steps is {}: each is the length of the run, give one of them."
