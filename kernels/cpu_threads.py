"""How the loops that numba compiles are spread over the cores: each thread takes its share of the
images."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch


def spread(work, count):
    """Call work(numbers) with shares of range(count) that cover it, as `spread_evenly`.

    Args:
        work: takes a range; to run beside others it must hold no lock of the interpreter (nogil),
            and write to places of its own.
    """
    spread_evenly(lambda first, last, step: work(range(first, last, step)), count)


def spread_evenly(work, count):
    """Call work(first, count, step) with steps through range(count) that cover it, as many at a
    time as torch has threads; the threads stay for the next call.

    Args:
        work: as for `spread`.
    """
    threads = min(torch.get_num_threads(), count)
    if threads <= 1:
        work(0, count, 1)
        return
    # The first share is this thread's: it would wait for the others anyway.
    others = [
        _pool(os.getpid(), threads - 1).submit(work, first, count, threads)
        for first in range(1, threads)
    ]
    work(0, count, threads)
    for other in others:
        other.result()


@cache
def _pool(process, threads):
    """Threads of this process; a forked one has none of its parent's."""
    return ThreadPoolExecutor(threads)
