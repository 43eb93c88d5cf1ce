"""The package `imagecorruptions` as an independent truth, run on given random numbers instead of its own."""

import numpy as np

from fastneg.recipes.bench_corruptions import Numpy, package


class Replay:
    """Stands for np.random: each call takes the next of the given arrays, which hold standard draws, and scales it as asked."""

    def __init__(self, *arrays):
        self._left = list(arrays)

    def _next(self, size):
        array = np.asarray(self._left.pop(0), dtype=np.float64)
        assert array.size == np.prod(size if size is not None else 1, dtype=int), f"{array.shape} was drawn, {size} is asked for"
        return array.reshape(size) if size is not None else array.item()

    def normal(self, loc=0.0, scale=1.0, size=None):
        return loc + scale * self._next(size)

    def uniform(self, low, high, size=None):
        """The array holds numbers in low … high already."""
        drawn = self._next(size)
        assert np.min(drawn) >= low - 1e-6 * abs(low) and np.max(drawn) <= high + 1e-6 * abs(high)
        return drawn

    def randint(self, low, high, size=None):
        drawn = self._next(size)
        assert np.min(drawn) >= low and np.max(drawn) < high
        return drawn.astype(int)


def published(name, pixels, severity, random=None):
    """One (H, W, 3) uint8 image under a corruption of the package: float64 in 0 … 1, before it is rounded."""
    from PIL import Image

    module = package()
    if random is not None:
        module.np = Numpy(random)
    return np.asarray(getattr(module, name)(Image.fromarray(pixels), severity), dtype=np.float64) / 255
