"""How the loops that numba compiles are spread over the cores: each thread takes its share of the
images."""

from concurrent.futures import ThreadPoolExecutor

import torch


def spread(work, count):
    """Call work(numbers) with shares of range(count) that cover it, as many at a time as torch has
    threads.

    Args:
        work: takes a range; to run beside others it must hold no lock of the interpreter (nogil),
            and write to places of its own.
    """
    threads = min(torch.get_num_threads(), count)
    if threads <= 1:
        work(range(count))
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, [range(first, count, threads) for first in range(threads)]))
