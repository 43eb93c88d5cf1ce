"""The iteration interface of a loader: an open file with labels, a position, a state, an end."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from fastneg import distributed
from fastneg.data.beton.identity import images_fingerprint, same_images
from fastneg.data.beton.reader import BetonReader
from fastneg.data.beton.shards import BetonSet, open_data
from fastneg.options import nearest

if TYPE_CHECKING:
    from fastneg.data.load.order import EpochOrder

OPTIONS = (
    "device",
    "threads",
    "hw_decoder_load",
    "prefetch_queue_depth",
    "interpolation",
    "normalisation",
    "check_crc",
    "max_bad_share",
    "quarantine",
    "cache",
)
"""The options of `FeedingLoader` that are a user's."""
AS_IN_TORCH = {
    "num_workers": "threads is the number of decoding threads",
    "shuffle": "TrainLoader's order is 'random', 'page' or 'sequential', EvalLoader's the file's",
    "sampler": "TrainLoader's order and EvalLoader's samples choose the images",
    "drop_last": "TrainLoader's last is 'drop' or 'short', EvalLoader keeps all",
    "pin_memory": "leave it out, batches are made on the device",
    "prefetch_factor": "prefetch_queue_depth is the number of batches that are decoded ahead",
    "transform": "TrainLoader's augmentation says how views are made",
    "dataset": "the first argument, data, is the path of a .beton file",
}
"""{argument of torch.utils.data.DataLoader or of its data sets: what a loader has for it}"""
H = TypeVar("H", bound="Handle")
Path: TypeAlias = str | os.PathLike[str]
Data: TypeAlias = Path | Sequence[Path] | BetonReader | BetonSet
"""The path of a .beton file, several as `open_data` takes them, or an open reader."""


def opened(data: Data) -> tuple[BetonReader | BetonSet, bool]:
    """(the open data set, whether it was opened here) of a path, as `open_data` takes it, or of a
    reader."""
    if isinstance(data, (str, os.PathLike, list, tuple)):
        return open_data(data), True
    if isinstance(data, (BetonReader, BetonSet)):
        return data, False
    raise TypeError(
        f"data is of type {type(data).__name__}: the path of a .beton file, a list of paths or an "
        "open reader was expected. fastneg encode makes a .beton file of other data sets."
    )


def whole(name: str, value: Any, least: int) -> int:
    """An argument that is a whole number of at least `least`; ValueError where it is none."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= least:
        return int(value)
    raise ValueError(f"{name} is {value!r}: a whole number of at least {least} was expected.")


def device_of(device: str | torch.device) -> torch.device:
    """The device of a loader; ValueError where loaders have no code for it."""
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        found = None
    if found is None or found.type not in ("cpu", "cuda"):
        raise ValueError(
            f"device is {str(device)!r}: 'cpu', 'cuda' or 'cuda:<number>' was expected."
        )
    return found


def refuse_unknown(kind: type, options: Iterable[str]) -> None:
    """TypeError for an option that a loader does not have."""
    known = [*OPTIONS, *inspect.signature(kind).parameters]
    for name in options:
        if name not in OPTIONS:
            told = AS_IN_TORCH.get(name)
            hint = f": {told}." if told else nearest(name, known)
            raise TypeError(f"{kind.__name__} has no option {name!r}{hint}")


class Handle:
    """Labels, place and end of a loader.

    Its place is (epoch, iteration): which pass it is in, and how many batches of that were handed
    out. A pass begins when its first batch is asked for.
    """

    reader: BetonReader | BetonSet
    order: EpochOrder
    _at = (0, 0)
    _fresh = True  # the next pass begins at `_at`, not with the epoch after it
    _owns_reader = False  # whether the loader opened the file
    _closed = False
    _joined = False  # whether rank and world_size are those of the process group

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """(samples of the file,) int64, or None where it has none."""
        return self.reader.labels

    @property
    def classes(self) -> list[str] | None:
        """The names of the classes, by label; None where the file names none."""
        return self.reader.classes

    @property
    def batch_size(self) -> int:
        """Images per batch, over all processes."""
        return self.order.batch_size

    @property
    def next_epoch(self) -> int:
        """The epoch that the next `for` over the loader takes, or goes on with."""
        return self._next_pass()[0]

    @property
    def iteration(self) -> int:
        """Batches that were handed out of the newest pass; of a loader that goes on within one,
        where it does: `tqdm(loader, initial=loader.iteration)`."""
        return self._at[1]

    def state_dict(self) -> dict[str, Any]:
        """Where the loader is, in plain types.

        {"epoch", "iteration": of which so many batches were handed out, "quarantine": {index:
        reason} of the bad samples met so far, and what the order follows from}. Every process keeps
        its own.
        """
        return {
            "epoch": self._at[0],
            "iteration": self._at[1],
            "quarantine": dict(self.quarantine),
            **self._order_facts(),
            "data": images_fingerprint(self.reader, self._checks.fields),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state: the next `for` over the loader gives the batches that were left of
        that pass; after its last batch, the next epoch.

        Raises:
            ValueError: the state is of other images, or of a loader with another order, or is none.
        """
        facts = self._order_facts()
        due = {"epoch", "iteration", "quarantine", "data", *facts}
        if not isinstance(state, dict) or not due <= state.keys():
            what = (
                f"has {', '.join(map(str, state)) or 'nothing'}" if isinstance(state, dict) else ""
            )
            raise ValueError(
                f"The state {what or f'is of type {type(state).__name__}'}: the dict of a loader's "
                "state_dict() was expected."
            )
        if self.order.order != "page" or state["iteration"] % len(self) == 0:
            facts.pop("world_size")  # the global batches do not depend on it
        differing = [name for name, value in facts.items() if state[name] != value]
        if differing:
            told = ", ".join(f"{name} {state[name]!r} → {facts[name]!r}" for name in differing)
            raise ValueError(
                f"The state is of a loader with other settings ({told}): open the loader with the "
                "settings of the state."
            )
        if not same_images(state["data"], images_fingerprint(self.reader, self._checks.fields)):
            raise ValueError(
                f"The state is of other images than those of {self.reader.path}: open the loader "
                "on the same images."
            )
        if not 0 <= state["iteration"] <= len(self) or state["epoch"] < 0:
            raise ValueError(
                f"The state is at iteration {state['iteration']} of epoch {state['epoch']}: 0 to "
                f"{len(self)} of epoch 0 or later was expected."
            )
        self.know({int(index): reason for index, reason in state["quarantine"].items()})
        self._at, self._fresh = (state["epoch"], state["iteration"]), True

    def _order_facts(self):
        order = self.order
        names = ("length", "batch_size", "seed", "order", "last", "world_size")
        return {name: getattr(order, name) for name in names}

    def _next_pass(self):
        """(epoch, iteration) at which the next pass begins."""
        epoch, iteration = self._at
        within = self._fresh and iteration < len(self)
        return (epoch, iteration) if within else (epoch + 1, 0)

    def _begin_pass(self, epoch, start):
        if self._joined and distributed.joined_place() != (self.order.rank, self.order.world_size):
            raise RuntimeError(
                "The process group has changed since the loader was opened: open the loader after "
                "torch.distributed.init_process_group, or give it rank and world_size."
            )
        self._at, self._fresh = (epoch, start), False

    def _cut_short(self):
        """The error of a pass that was not over, and whose thread has ended."""
        if self._closed:
            return RuntimeError(f"The loader of {self.reader.path} was closed within a pass.")
        return RuntimeError(
            f"Another pass over the loader of {self.reader.path} has begun, which ended this one: "
            "open a second loader for two passes at a time."
        )

    def know(self, bad):
        """Take in bad samples that were found elsewhere, {index: reason}: they are replaced from
        now on, without being tried."""
        self.quarantine.update(bad)
        self._quarantine.add(bad)

    def __reduce__(self):
        raise TypeError(
            f"A loader cannot be sent to another process: open {self.reader.path} there (a reader "
            "can be sent)."
        )

    def __enter__(self: H) -> H:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _close_file(self):
        """Close the file if the loader opened it."""
        if self._owns_reader:
            self.reader.close()
