"""What fastneg asks of a method before any network is built, and the registry of methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from fastneg.options import option
from fastneg.registry import Registry, imported


class Method:
    """A method: its options, their checks, and where its network is.

    The annotated fields of a subclass are the method's options, each a field of `PretrainConfig`
    and a flag of `fastneg pretrain`. Their defaults hold under this method. Where no method takes
    an option that is given, it is refused. An option of `SharedOptions` is declared by its default
    alone. An own one has bounds (`fastneg.options.option`) and a docstring under it.

    What a method can do is told by the options that it takes (key_pass, accumulate, temperature)
    and by the facts below.
    """

    name: ClassVar[str] = ""
    """What --method is given."""
    about: ClassVar[str] = ""
    """A few words for the help of --method."""
    network: ClassVar[str | Callable[..., Any]] = ""
    """Makes the network of a `PretrainConfig`: "package.module:Class", which is imported when it is
    needed, or the class itself."""
    key_encoder: ClassVar[bool] = False
    """It has a second encoder without gradients, whose passes --cuda_graphs replays."""
    queue: ClassVar[bool] = False
    """It keeps past keys: a query can be told from others without another image in its batch."""
    labels: ClassVar[bool] = False
    """It learns from the labels of the data, which `forward` gets after the generator: (N,) int64
    on the device."""
    shuffles_keys: ClassVar[bool] = False
    """It encodes keys in another order, or in another process, than queries: --bn split, shuffle.
    """

    def check(self, config: Any) -> None:
        """Raise `ConfigError` where options of the method do not fit each other or the rest.

        Called when a `PretrainConfig` with this method is made, its fields within their bounds.
        """

    def __call__(self, config: Any) -> Any:
        """The network: an nn.Module with `query_encoder`, `forward` and `after_step`."""
        return imported(self.network)(config)


@dataclass(frozen=True)
class SharedOptions:
    """Options that more than one method takes. The defaults stand with each method."""

    feature_dim: int = option(None, at_least=2)
    """Dimension of the normalised features that the loss compares."""
    hidden_dim: int = option(None, at_least=1)
    """Width of the hidden layers of projector and predictor."""
    temperature: float = option(None, above=0.0)
    """Softmax temperature T."""
    key_momentum: float = option(None, at_least=0.0, below=1.0)
    """The key encoder (BYOL's target) follows the query encoder with this momentum each step."""
    momentum_schedule: str = option(None, choices=("constant", "cosine"))
    """constant: the momentum stays. cosine: it rises to 1 along a cosine over the run."""
    bn: str = option(None, choices=("split", "shuffle", "sync", "none"))
    """How batch normalisation is kept from leaking the answer. split: statistics over groups, key
    batch permuted. shuffle: keys encoded by other processes. sync: statistics over all processes.
    none."""
    key_pass: str = option(None, choices=("separate", "batched"))
    """separate: keys and negatives are encoded in separate passes. batched: in one pass with
    separate statistics, which gives the same numbers."""
    negatives_bn: str = option(None, choices=("apart", "joint"))
    """Batch statistics of the non-semantic negatives. apart: their own. joint: those of one batch
    with the keys."""
    accumulate: int = option(None, at_least=1)
    """Parts into which a batch is split to save memory, with one optimizer step per batch. Each
    part has its own batch statistics."""


METHODS = Registry("method", Method, SharedOptions)
"""{name: `Method`}; METHODS[config.method](config) is the network of a run."""
register, unregister = METHODS.register, METHODS.unregister
