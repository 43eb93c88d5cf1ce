"""The interface of a method without its network, and the registry of methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from fastneg.options import option
from fastneg.registry import Registry, imported


class Method:
    """A method: it declares its options and abilities, checks them, and names its network.

    The annotated fields of a subclass are the method's options. Each is a field of `PretrainConfig`
    and a flag of `fastneg pretrain`. Their defaults apply with this method. A given option that the
    method does not declare is refused. An option of `SharedOptions` needs only a default. A new
    option has bounds (`fastneg.options.option`) and a docstring under it.

    The declared options (key_pass, accumulate, temperature) and the class attributes below say what
    the method can do.
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
        """Raise `ConfigError` if options of the method contradict each other or other settings.

        Called when a `PretrainConfig` with this method is made; its fields are already within their
        bounds.
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
