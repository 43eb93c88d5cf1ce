"""The order of an epoch, as a pure function of (seed, epoch).

Any batch of any rank can be asked for at any time. So nothing of the order stands in a checkpoint:
a run that is resumed asks for the batch after its last one, and gets what it would have got.
"""

from __future__ import annotations

import operator

import numpy as np

from fastneg.counts import counted

ORDERS = ("random", "page", "sequential")
WINDOW_PAGES = 64
"""Pages whose samples are mixed with each other in page order.

Of a file with pages of 8 MiB they are 512 MiB, and about two windows are in memory at a time.
"""


class EpochOrder:
    """Which samples make up each batch.

    random: each epoch is a permutation of all samples. The global batches depend on (seed, epoch)
    alone, and rank r takes the r-th of `world_size` equal slices of each: a run on 1, 2 or 8
    processes sees the same global batches. For sets that fit into memory.

    page: for sets larger than memory. The pages of the file are shuffled, their samples dealt to
    the ranks in equal contiguous shares, and in each share the samples of `window` neighbouring
    pages mixed. A rank reads each page once, as a whole; at most one page at each end of its share
    is read by a neighbour too. The batches depend on the number of ranks; that an epoch takes every
    sample once does not.

    sequential: the order of the data set, each epoch the same; shared out as in random.

    Args:
        length: samples in the data set.
        batch_size: samples in a batch over all ranks; a multiple of world_size.
        order: a name of `ORDERS`.
        pages: (length,) int64, the page on which each sample lies; needed for the page order, and
            for no other.
        window: pages whose samples are mixed (page order).
        seed: at least 0; the order of epoch e is drawn from (seed, e).
        rank, world_size: this process, and how many there are.
        last: what becomes of an incomplete last batch. "drop" leaves it out; "pad" fills it with
            repeats of the epoch's last sample, and `valid` says how many of its entries count.
    Raises:
        ValueError: a setting that cannot be, or "drop" with a data set that is smaller than one
            batch.
    """

    def __init__(
        self,
        length,
        batch_size,
        *,
        order="random",
        pages=None,
        window=WINDOW_PAGES,
        seed=0,
        rank=0,
        world_size=1,
        last="drop",
    ):
        _check_numbers(length, batch_size, window, world_size, seed, rank)
        _check_pages(order, pages, length)
        if last not in ("drop", "pad"):
            raise ValueError(f"last is {last!r}: 'drop' or 'pad' was expected.")
        if last == "drop" and length < batch_size:
            raise ValueError(
                f"length is {length}, less than one batch of {batch_size}, and incomplete batches "
                "are dropped: no batch would be left. Take a smaller batch_size."
            )
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.order, self.last = order, last
        self.rank, self.world_size = rank, world_size
        self.local_batch_size = batch_size // world_size
        self.rows = slice(rank * self.local_batch_size, (rank + 1) * self.local_batch_size)
        """This rank's part of a global batch."""
        self.iterations = length // batch_size if last == "drop" else -(-length // batch_size)
        """Batches in an epoch, the same for every rank."""
        self.window = window
        self._page = None if pages is None else np.unique(pages, return_inverse=True)[1].reshape(-1)
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
        """The samples of a batch over all ranks, (batch_size,) int64; arguments and errors as of
        `batch`."""
        first = self._first(iteration) * self.batch_size
        return self._epoch(epoch).samples[first : first + self.batch_size].copy()

    def valid(self, iteration):
        """How many of this rank's entries of a batch count; the rest are repeats, which only
        last="pad" makes."""
        iteration, local = self._first(iteration), self.local_batch_size
        share = (
            self.rank * self.iterations + iteration
            if self.order == "page"
            else iteration * self.world_size + self.rank
        )
        return max(0, min(local, self.length - share * local))

    def ahead(self, epoch, iteration, first=False):
        """The samples to read from disk while a batch is worked on, so that they are there when
        they are due.

        Args:
            epoch, iteration: the batch that is worked on.
            first: True if nothing was read ahead yet: then the samples of this batch are among
                them.
        Returns:
            int64 positions. In page order whole pages, a window ahead of their use; else those of
            the rank's next batch.
        """
        drawn, last = self._epoch(epoch), self._first(iteration) + 1 == self.iterations
        if self.order != "page":
            near = range(iteration + (not first), iteration + 2 - last)
            return np.concatenate(
                [np.empty(0, np.int64), *(self.batch(epoch, number) for number in near)]
            )
        # What was read ahead up to the last batch ends where this begins: nothing is asked for
        # twice. A run that starts within an epoch has read nothing: it begins with its window.
        used = iteration * self.local_batch_size
        start = drawn.begin(used) if first else drawn.target(used)
        return drawn.dealt[start : drawn.target(used + self.local_batch_size)]

    def _first(self, iteration):
        if not 0 <= iteration < self.iterations:
            raise IndexError(
                f"iteration is {iteration}: an epoch has {self.iterations}, counted from 0."
            )
        return iteration

    def _epoch(self, epoch):
        cached, drawn = self._cached  # one assignment replaces both: threads may share this object
        if cached != epoch:
            if epoch < 0:
                raise ValueError(f"epoch is {epoch}: it must be at least 0.")
            drawn = (
                self._draw_pages(epoch)
                if self.order == "page"
                else _Epoch(self._pad(self._draw(epoch)))
            )
            self._cached = (epoch, drawn)
        return drawn

    def _pad(self, order):
        """Exactly as many as the epoch's batches take: cut, or filled with repeats of the last."""
        return order[np.minimum(np.arange(self.iterations * self.batch_size), self.length - 1)]

    def _keys(self, epoch, *counts):
        # NumPy keeps the raw stream of a bit generator from version to version, not what
        # Generator.permutation makes of it: sorting raw 64-bit keys gives the same order
        # everywhere. A resumed run may meet another NumPy.
        stream = np.random.PCG64(np.random.SeedSequence([self.seed, epoch]))
        return [stream.random_raw(count) for count in counts]

    def _draw(self, epoch):
        if self.order == "sequential":
            return np.arange(self.length, dtype=np.int64)
        (keys,) = self._keys(epoch, self.length)
        return np.argsort(keys, kind="stable").astype(np.int64, copy=False)

    def _draw_pages(self, epoch):
        page_keys, keys = self._keys(epoch, int(self._page.max()) + 1, self.length)
        turn = np.empty(len(page_keys), np.int64)  # when each page comes in this epoch
        turn[np.argsort(page_keys, kind="stable")] = np.arange(len(page_keys))
        turn = turn[self._page]  # of each sample's page
        # All samples, page by page. Equal shares of it go to the ranks: a page on a border is read
        # by both neighbours, every other page by one rank.
        dealt = np.argsort(turn, kind="stable")
        share = self.iterations * self.local_batch_size
        shares = []
        for rank in range(self.world_size):
            mine = dealt[rank * share : (rank + 1) * share]
            # Windows are counted from the first page of the share. Within one the order is random,
            # so a batch mixes samples of up to `window` pages, which are read in one go.
            window = (turn[mine] - turn[mine[:1]]) // self.window
            mixed = mine[np.lexsort((keys[mine], window))]
            # With last="pad" the last shares may be short, or empty.
            filling = mixed[-1:] if len(mixed) else dealt[-1:]
            shares.append(np.concatenate([mixed, np.repeat(filling, share - len(mixed))]))
            if rank == self.rank:
                bounds = [*np.flatnonzero(np.diff(window, prepend=-1)).tolist(), len(mine)]
                own = mine, bounds
        # (rank, iteration, sample) → global batches one after the other, each rank after rank
        samples = (
            np.stack(shares)
            .reshape(self.world_size, self.iterations, self.local_batch_size)
            .swapaxes(0, 1)
            .reshape(-1)
        )
        return _Epoch(samples, *own)


def _check_numbers(length, batch_size, window, world_size, seed, rank):
    numbers = {
        "length": length,
        "batch_size": batch_size,
        "window": window,
        "world_size": world_size,
        "seed": seed,
    }
    for name, value in numbers.items():
        least = 0 if name == "seed" else 1
        if operator.index(value) < least:
            raise ValueError(f"{name} is {value}: it must be at least {least}.")
    if not 0 <= rank < world_size:
        raise ValueError(
            f"rank is {rank}: with a world_size of {world_size} it must be 0 to {world_size - 1}."
        )
    if batch_size % world_size:
        raise ValueError(
            f"batch_size is {batch_size}: a multiple of world_size {world_size} was expected, so "
            "that shares are equal."
        )


def _check_pages(order, pages, length):
    if order not in ORDERS:
        raise ValueError(f"order is {order!r}: one of {', '.join(ORDERS)} was expected.")
    if (order == "page") != (pages is not None):
        raise ValueError(
            f"order is {order!r} and pages are {'missing' if pages is None else 'given'}: they go "
            "with the order 'page'."
        )
    if pages is not None and np.shape(pages) != (length,):
        raise ValueError(
            f"pages has the shape {np.shape(pages)}: one page for each of "
            f"{counted(length, 'sample')} was expected, ({length},)."
        )


class _Epoch:
    """The samples of an epoch's global batches, one after the other; in page order also this rank's
    share, page by page.

    Args:
        samples: (iterations × batch_size,) int64.
        dealt: int64, this rank's share in the order in which its pages are read.
        bounds: where its windows begin in `dealt`, and its length.
    """

    def __init__(self, samples, dealt=None, bounds=None):
        self.samples, self.dealt, self._bounds = samples, dealt, bounds

    def begin(self, used):
        """Where the window that the `used`-th sample falls in begins in `dealt`."""
        return self._bounds[self._window(used)]

    def target(self, used):
        """How much of `dealt` should be read ahead when `used` samples are used.

        As far into the next window as we are in this one: reading keeps pace with use, and the next
        window is whole in memory when this one is used up.
        """
        if not used:
            return self._at(1)
        window = self._window(used - 1)
        start, stop, end = (self._at(window + step) for step in range(3))
        if used >= stop:  # the rest of a share that is filled up with repeats
            return end
        return stop + (used - start) * (end - stop) // max(1, stop - start)

    def _window(self, used):
        """The number of the window in which the `used`-th sample is."""
        number = int(np.searchsorted(self._bounds, used, side="right")) - 1
        return min(number, max(0, len(self._bounds) - 2))  # repeats lie behind the last window

    def _at(self, number):
        return self._bounds[min(number, len(self._bounds) - 1)]
