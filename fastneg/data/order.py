"""The order of an epoch, as a pure function of (seed, epoch): any batch of any rank can be asked for at any time."""

from __future__ import annotations

import operator

import numpy as np


class EpochOrder:
    """Which samples make up each batch.

    The global batches depend on (seed, epoch) alone. Rank r takes the r-th of `world_size` equal slices of each of them, so that every
    rank has the same number of batches of the same size, and a run on 1, 2 or 8 processes sees the same global batches.

    Args:
        length: samples in the data set.
        batch_size: samples in a batch over all ranks; a multiple of world_size.
        seed: at least 0; the order of epoch e is drawn from (seed, e).
        rank, world_size: this process, and how many there are.
        shuffle: False keeps the order of the data set.
        last: what becomes of an incomplete last batch. "drop" leaves it out; "pad" fills it with repeats of the epoch's last sample,
            and `valid` says how many of its entries count.
    Raises:
        ValueError: a setting that cannot be, or "drop" with a data set that is smaller than one batch.
    """

    def __init__(self, length, batch_size, *, seed=0, rank=0, world_size=1, shuffle=True, last="drop"):
        for name, value, least in (("length", length, 1), ("batch_size", batch_size, 1), ("world_size", world_size, 1), ("seed", seed, 0)):
            if operator.index(value) < least:
                raise ValueError(f"{name} is {value}: it must be at least {least}.")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank is {rank}: with a world_size of {world_size} it must be 0 to {world_size - 1}.")
        if batch_size % world_size:
            raise ValueError(f"batch_size is {batch_size}: a multiple of world_size {world_size} was expected, so that shares are equal.")
        if last not in ("drop", "pad"):
            raise ValueError(f"last is {last!r}: 'drop' or 'pad' was expected.")
        if last == "drop" and length < batch_size:
            raise ValueError(
                f"length is {length}, less than one batch of {batch_size}, and incomplete batches are dropped: no batch would be left. "
                "Take a smaller batch_size, or last='pad'."
            )
        self.length, self.batch_size, self.seed, self.shuffle, self.last = length, batch_size, seed, shuffle, last
        self.rank, self.world_size = rank, world_size
        self.local_batch_size = batch_size // world_size
        self.rows = slice(rank * self.local_batch_size, (rank + 1) * self.local_batch_size)
        """This rank's part of a global batch."""
        self.iterations = length // batch_size if last == "drop" else -(-length // batch_size)
        """Batches in an epoch, the same for every rank."""
        self._cached = (None, None)

    def batch(self, epoch, iteration):
        """The samples of this rank's part of a batch.

        Args:
            epoch: at least 0.
            iteration: 0 to iterations - 1.
        Returns:
            (local_batch_size,) int64, positions in the data set.
        Raises:
            ValueError: a negative epoch. IndexError: no such iteration.
        """
        return self.global_batch(epoch, iteration)[self.rows]

    def global_batch(self, epoch, iteration):
        """The samples of a batch over all ranks, (batch_size,) int64; arguments and errors as of `batch`."""
        order, first = self._order(epoch), self._first(iteration)
        return order[np.minimum(np.arange(first, first + self.batch_size), self.length - 1)]

    def valid(self, iteration):
        """How many of this rank's entries of a batch count; the rest are repeats, which only last="pad" makes."""
        return max(0, min(self.local_batch_size, self.length - self._first(iteration) - self.rows.start))

    def _first(self, iteration):
        if not 0 <= iteration < self.iterations:
            raise IndexError(f"iteration is {iteration}: an epoch has {self.iterations}, counted from 0.")
        return iteration * self.batch_size

    def _order(self, epoch):
        cached, order = self._cached  # one assignment replaces both: threads may share this object
        if cached != epoch:
            order = self._draw(epoch)
            self._cached = (epoch, order)
        return order

    def _draw(self, epoch):
        if epoch < 0:
            raise ValueError(f"epoch is {epoch}: it must be at least 0.")
        if not self.shuffle:
            return np.arange(self.length, dtype=np.int64)
        # NumPy keeps the raw stream of a bit generator from version to version, not what Generator.permutation makes of it: sorting raw
        # 64-bit keys gives the same order everywhere. A resumed run may meet another NumPy.
        keys = np.random.PCG64(np.random.SeedSequence([self.seed, epoch])).random_raw(self.length)
        return np.argsort(keys, kind="stable").astype(np.int64, copy=False)
