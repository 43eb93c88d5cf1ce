"""The registry of Triton kernels: the module of each, its configurations, and the limits of a
compiled one.

To add a kernel, write its module NAME_triton.py with a function `shipped`, and add its line to
KERNELS. `fastneg bench compile` and the test of budgets find it there.
"""

import importlib
from typing import NamedTuple

KERNELS = {
    "info_nce": "fastneg.kernels.info_nce_shipped",
    "pairs": "fastneg.kernels.pairs_shipped",
    "patch_shuffle": "fastneg.kernels.patch_shuffle_triton",
    "augment": "fastneg.kernels.augment_triton",
    "texture": "fastneg.kernels.texture_triton",
    "crop_resize": "fastneg.kernels.crop_resize_triton",
    "batch_norm": "fastneg.kernels.batch_norm_triton",
}
"""{name: its module}. Each has `shipped() → iterable of Shipped`. It is imported when it is asked
for, for importing fastneg must not import Triton."""


class Budget(NamedTuple):
    """What a kernel compiled for sm_90 may take."""

    spill_bytes: int = 0
    shared_bytes: int = 232_448
    """All that a block may take of an H100's or H200's shared memory."""
    wgmma: bool = False
    """Whether its products must run on the tensor cores as wgmma."""
    registers: int = 255
    """Of a thread: what lets as many programs as it counts on share a multiprocessor."""

    def exceeded_by(self, row):
        """{field: value} of what a row of `fastneg bench compile` has beyond this; {} if none."""
        over = {
            name: row[name]
            for name in ("spill_bytes", "shared_bytes", "registers")
            if row[name] > getattr(self, name)
        }
        return {**over, "wgmma": 0} if self.wgmma and not row["wgmma"] else over


class Shipped(NamedTuple):
    """One kernel in one configuration."""

    config: str
    """In words: dtypes, sizes, tile."""
    launch: tuple
    """(kernel, args, constants, options), as `launch.Recorder` keeps them."""
    budget: Budget = Budget()


def register(name, module):
    """Add a kernel of another package.

    Args:
        name: a new one.
        module: the full name of an importable module with `shipped`.
    Raises:
        ValueError: the name is taken.
    """
    if KERNELS.setdefault(name, module) != module:
        raise ValueError(f"A kernel {name!r} is registered already, of {KERNELS[name]}: rename it.")


def shipped(module, architecture=90):
    """What a kernel's module ships for sm_`architecture`, as a list of `Shipped` in a fixed
    order."""
    from .launch import recorded_for  # not at the top: what imports torch waits until it is used

    with recorded_for(architecture):
        return list(importlib.import_module(module).shipped())
