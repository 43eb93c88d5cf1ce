"""The randomness of a batch: each image has a generator of its own.

It is seeded by (corruption, severity, position in the data set).

So an image is treated alike in whatever batch it comes. On the CPU numpy draws, which is several
times faster there; on a GPU torch does, so the two devices draw different noise. What the host must
know, an angle or the place of a crop, numpy draws for both: to read it from a GPU would be to wait.
"""

from __future__ import annotations

import math
import zlib
from functools import cached_property

import numpy as np
import torch


class Draws:
    """Random numbers for N images, as (N, …) tensors on the device."""

    def __init__(self, device, name, severity, index):
        self._seeds = [
            np.random.SeedSequence([zlib.crc32(name.encode()), severity, int(i)]) for i in index
        ]
        self._device = torch.device(device)
        if self._device.type == "cpu":
            self._generators = self._of_host
        else:
            self._generators = [
                torch.Generator(device).manual_seed(int(seed.generate_state(1, np.uint64)[0] >> 1))
                for seed in self._seeds
            ]

    @cached_property
    def _of_host(self):
        """A numpy generator for each image; on a GPU few corruptions ask for them."""
        return [np.random.Generator(np.random.SFC64(seed)) for seed in self._seeds]

    def normal(self, *shape):
        """(N, *shape) float32, mean 0, deviation 1."""
        return self._fill(
            shape,
            lambda g, out: g.standard_normal(out=out, dtype=np.float32),
            lambda g, out: out.normal_(generator=g),
        )

    def uniform(self, low, high, *shape):
        """(N, *shape) float32 in low … high."""
        drawn = self._fill(
            shape,
            lambda g, out: g.random(out=out, dtype=np.float32),
            lambda g, out: out.uniform_(generator=g),
        )
        return drawn.mul_(high - low).add_(low)

    def integers(self, low, high, *shape):
        """(N, *shape) int64 in low … high - 1, which must fit 16 bits."""
        if self._device.type == "cpu":
            return torch.from_numpy(self._integers_of_host(low, high, shape))
        return torch.stack(
            [
                torch.randint(low, high, shape, generator=g, device=self._device)
                for g in self._generators
            ]
        )

    def host_uniform(self, low, high):
        """(N,) float32 array in low … high, drawn on the host: for what it must know itself."""
        drawn = np.array([g.random(dtype=np.float32) for g in self._of_host], np.float32)
        return drawn * np.float32(high - low) + np.float32(low)

    def host_integers(self, low, high, *shape):
        """(N, *shape) int64 array in low … high - 1, likewise."""
        return self._integers_of_host(low, high, shape)

    def _integers_of_host(self, low, high, shape):
        drawn = [g.integers(low, high, shape, np.int16) for g in self._of_host]
        return np.stack(drawn).astype(np.int64)

    def _fill(self, shape, by_numpy, by_torch):
        out = torch.empty((len(self._generators), math.prod(shape)), device=self._device)
        fill, rows = (by_numpy, out.numpy()) if self._device.type == "cpu" else (by_torch, out)
        for generator, row in zip(self._generators, rows, strict=True):
            fill(generator, row)
        return out.view(len(self._generators), *shape)
