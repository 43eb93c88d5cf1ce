"""Small tables of numbers, made on the host once and kept on the device.

A copy from the host in the middle of a batch would wait for the device, each time.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from fastneg.kernels.host_copy import to_device


@lru_cache(maxsize=512)
def table(make, device, *key):
    """make(*key) on the device, the same tensor each time: nobody may change it.

    Args:
        make: gives a tensor or an array on the host, or a tuple of them.
        device: torch.device.
        key: hashable arguments.
    """
    made = make(*key)
    if isinstance(made, tuple):
        return tuple(_placed(each, device) for each in made)
    return _placed(made, device)


def numbers(values, device, dtype=torch.float32):
    """Numbers, nested in tuples, as a tensor on the device."""
    return table(_tensor, device, values, dtype)


def _tensor(values, dtype):
    return torch.tensor(values, dtype=dtype)


def _placed(made, device):
    return to_device(torch.from_numpy(made) if isinstance(made, np.ndarray) else made, device)
