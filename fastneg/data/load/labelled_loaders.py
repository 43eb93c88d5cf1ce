"""The loaders of labelled images: random crops for a probe, central crops for evaluation.

A loader is a function of (seed, epoch, iteration): it can start anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fastneg.config.augmentation import EVALUATION, LINEAR_PROBE, augmentation_of
from fastneg.counts import counted
from fastneg.data.load.augmentation import (
    batch_generator,
    dali_inputs,
    draw_view,
    eval_window,
)
from fastneg.data.load.batch import EvalBatch, Request
from fastneg.data.load.feeding import FeedingLoader
from fastneg.data.load.handle import Data, opened, refuse_unknown, whole
from fastneg.data.load.order import EpochOrder
from fastneg.kernels.host_copy import to_device


class CropLoader(FeedingLoader):
    """One random crop and flip of each image: what a linear probe trains on.

    Every sample comes once an epoch; the last batch is shorter. A sample that cannot be used raises
    BetonError, unless max_bad_share allows for it: then the next good one stands in for it.

    Args:
        samples: positions to take; None takes the whole file. Of a part no sample is replaced:
            another might not belong to it.
        feeding: as of `TrainLoader`, but no cache.
    Raises:
        ValueError: a cache is asked for.
    """

    def __init__(
        self,
        reader,
        batch_size,
        image_size,
        *,
        seed=0,
        samples=None,
        **feeding,
    ):
        _refuse_cache(**feeding)
        self._image_size, self._recipe, self._seed = image_size, augmentation_of(LINEAR_PROBE), seed
        self._samples = np.arange(len(reader)) if samples is None else np.asarray(samples)
        if samples is not None:
            feeding["max_bad_share"] = 0.0
        order = EpochOrder(len(self._samples), batch_size, seed=seed, last="pad")
        super().__init__(reader, order, views=1, augment=True, **feeding)

    def epoch(self, epoch):
        """Iterate over the `EvalBatch`es of an epoch."""
        for request, (images,) in self._run(epoch):
            yield EvalBatch(images, torch.from_numpy(request.index), self._label(request.index))

    def _request(self, place):
        epoch, iteration = place
        index = self._samples[self.order.batch(epoch, iteration)[: self.order.valid(iteration)]]
        index, replaced = self._quarantine.replace(index)
        generator = batch_generator(self._seed, epoch, iteration)
        view = draw_view(self._recipe, self.reader.sizes[index], self._recipe.area, generator)
        return Request(index, [dali_inputs(view)], self._image_size, replaced)


class EvalLoader(FeedingLoader):
    """The central crop of each image, every sample exactly once, in the order of the file.

    One pass is the whole file, and `len` is the number of its batches. The last batch may be
    shorter.

    A sample that cannot be used raises BetonError. If max_bad_share allows for it, the sample is
    left out instead, and `quarantine` names it. It is not replaced, because the replacement would
    count twice.

    Args:
        data: as for `TrainLoader`.
        batch_size: images per batch.
        image_size: side of the central crop in pixels.
        resize: side to which the shorter side is resized before the crop; default image_size ×
            256/224.
        samples: positions to return, in this order; None: the whole file.
        rank, world_size: with several processes, each takes every world_size-th sample, beginning
            with the rank-th.
        feeding: options as for `TrainLoader`, without cache. Bad samples are treated as above.
    Raises:
        As `TrainLoader`.
    """

    def __init__(
        self,
        data: Data,
        batch_size: int,
        image_size: int = 224,
        *,
        resize: int | None = None,
        samples: Sequence[int] | NDArray[np.int64] | None = None,
        rank: int = 0,
        world_size: int = 1,
        **feeding: Any,
    ) -> None:
        _refuse_cache(**feeding)
        refuse_unknown(type(self), feeding)
        self._image_size = whole("image_size", image_size, 1)
        self._resize = resize or round(image_size * EVALUATION["resize"])
        if self._resize < image_size:
            raise ValueError(
                f"resize is {self._resize}, below image_size {image_size}: the central crop would "
                "not fit."
            )
        if not 0 <= rank < world_size:
            raise ValueError(f"rank is {rank}, world_size {world_size}: 0 ≤ rank < world_size.")
        reader, self._owns_reader = opened(data)
        self._samples = _positions(samples, len(reader))[rank::world_size]
        if not len(self._samples):
            raise ValueError(
                f"Process {rank} of {world_size} has no image: at least "
                f"{counted(world_size, 'image')} were expected."
            )
        order = EpochOrder(len(self._samples), batch_size, order="sequential", last="pad")
        super().__init__(reader, order, views=1, augment=False, **feeding)

    def __iter__(self) -> Iterator[EvalBatch]:
        """A pass; after `load_state_dict` what is left of one."""
        return self._pass(*self._next_pass())

    def _pass(self, epoch, start):
        for request, (images,) in self._run(epoch, start):
            index = request.index
            if not request.kept.all():
                # By places: a mask on a GPU would have to be counted first.
                places = torch.from_numpy(np.flatnonzero(request.kept))
                index, images = index[request.kept], images[to_device(places, images.device)]
            if len(index):
                yield EvalBatch(images, torch.from_numpy(index), self._label(index))

    def _request(self, place):
        own = self._samples[self.order.batch(*place)[: self.order.valid(place[1])]]
        index, _ = self._quarantine.replace(own)
        bad = {
            sample: self._quarantine.bad[sample]
            for sample in own.tolist()
            if sample in self._quarantine.bad
        }
        start, end = eval_window(self.reader.sizes[index], self._image_size, self._resize)
        window = {"roi_start": start, "roi_end": end}
        return Request(
            index,
            [window],
            self._image_size,
            bad,
            kept=np.array([sample not in bad for sample in own.tolist()]),
        )


def _positions(samples, length):
    """(n,) int64: the positions in a file that are asked for; all where `samples` is None."""
    if samples is None:
        return np.arange(length)
    found = np.asarray(samples)
    if found.ndim != 1 or not (found.size == 0 or np.issubdtype(found.dtype, np.integer)):
        raise ValueError(
            f"samples is {found.dtype} {found.shape}: whole numbers (n,) were expected, positions "
            "in the file. np.flatnonzero gives those of a mask."
        )
    if found.size and not 0 <= found.min() <= found.max() < length:
        raise ValueError(
            f"samples has positions from {found.min()} to {found.max()}: 0 to {length - 1} were "
            "expected."
        )
    return found.astype(np.int64)


def _refuse_cache(cache=None, **_):
    """ValueError where a cache is asked for."""
    if cache is not None:
        raise ValueError(
            f"cache is {cache!r}: None was expected, because only `TrainLoader` can make views of "
            "cached images."
        )
