"""Stage loader: the rows of `fastneg bench loader`, one contender at a time, only those that use
the GPU.

On a GPU the sweep over the decoding engines' share and the threads follows.
"""

from __future__ import annotations

import contextlib
from functools import partial

from fastneg.recipes.bench.first_hour.stages import Job, Missing

ON_A_GPU = ("fastneg", "decode_only", "fastneg_patch", "fastneg_augment_kernel", "dali_file_reader")
ON_A_CPU = ("fastneg", "decode_only")
IMAGES = {"cpu": (32, 16), "cuda": (4096, 256)}
"""(images, batch)"""


def jobs(device):
    rounds = 2 if device == "cuda" else 1
    with contextlib.ExitStack() as stack:
        images = _Images(stack, device)
        for name in ON_A_GPU if device == "cuda" else ON_A_CPU:
            yield Job(name, partial(_contender, images, name, rounds))
        if device == "cuda":
            from fastneg.config import default_workers
            from fastneg.recipes.bench.measuring import swept_threads

            for threads in swept_threads(default_workers()):
                yield Job(f"sweep {threads} threads", partial(_sweep, images, threads, rounds))


class _Images:
    """The images of all jobs, made for the first of them."""

    def __init__(self, stack, device):
        self.stack, self.device, self.data = stack, device, None

    def ready(self):
        require_dali()
        from fastneg.recipes.bench.loader import bench_images

        if self.data is None:
            self.data = self.stack.enter_context(bench_images(*IMAGES[self.device]))
        return self.data


def _contender(images, name, rounds):
    data = images.ready()
    from fastneg.recipes.bench.loader import loader_rows
    from fastneg.recipes.bench.loader_contenders import CONTENDERS

    yield from loader_rows(data, {name: CONTENDERS[name]}, rounds)


def _sweep(images, threads, rounds):
    data = images.ready()
    from fastneg.recipes.bench.loader import sweep_rows

    yield from sweep_rows(data, threads, rounds)


def require_dali():
    """`Missing` where DALI is not installed."""
    try:
        import nvidia.dali  # noqa: F401
    except ModuleNotFoundError:
        raise Missing("DALI is not installed: pip install nvidia-dali-cuda130") from None
