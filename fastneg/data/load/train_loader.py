"""The loader of training views: which samples and random numbers make a batch.

A loader is a function of (seed, epoch, iteration): it can start anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from fastneg import distributed
from fastneg.config import PretrainConfig
from fastneg.config.augmentation import Augmentation, augmentation_of
from fastneg.config.views import augmenter
from fastneg.data.beton.format import TEXTURE_FIELD
from fastneg.data.load.augmentation import (
    augment_params,
    batch_generator,
    dali_inputs,
    draw_jitter_order,
    draw_patches,
    draw_view,
    window_shares,
)
from fastneg.data.load.batch import Request, TextureSources, ViewBatch
from fastneg.data.load.feeding import FeedingLoader
from fastneg.data.load.handle import Data, device_of, opened, refuse_unknown, whole
from fastneg.data.load.order import EpochOrder
from fastneg.negatives.batch import BatchNegatives, negatives_config


class TrainLoader(FeedingLoader):
    """Augmented views of each image, in an order drawn from (seed, epoch).

    Each pass over the loader is the next epoch. `len` is the number of batches per epoch. It can be
    closed, or used in a with statement.

    Args:
        data: the path of a .beton file (several as for `open_data`), which is closed with the
            loader; or an open `BetonReader` or `BetonSet`.
        batch_size: images per step, over all processes.
        image_size: side of the views in pixels, or a function from the epoch to this side.
        augmentation: an `Augmentation` or a name of AUGMENTATIONS (`fastneg.config.augmentation`),
            or a list with one for each view.
        augment_with: what changes colours, blurs and flips after DALI's decoding and crop. "dali":
            its operators. "kernel": `fastneg.kernels.augment`. "auto": "kernel" on a CPU and for
            cached images, otherwise "dali". Crops and random numbers are the same.
        crop_area: (smallest, largest) fraction of the image's area in a crop, for recipes without a
            crop area.
        views: the number of views; those after the second are the batch's `more`.
        texture: "file": the batch's `texture` is a view of the texture that the file pairs with
            each image, with the random numbers of the query (its window is at the same fractions of
            height and width). "image": the batch has `texture_sources`. None: neither.
        texture_patch: side of the source patches in pixels, or a function from the size of the
            views to this side (with texture "image"). Smaller images give smaller squares, which
            are enlarged.
        order: "random", "page" or "sequential", see `EpochOrder`.
        last: an incomplete last batch is left out with "drop". With "short" (one process only) it
            is returned, so that every sample comes once an epoch.
        negatives: kinds of non-semantic negatives for the batch's `negatives`, as for --negatives
            ("patch", "patch,texture"). They are those of `fastneg pretrain` with the same seed,
            settings and processes. A `PretrainConfig` also sets the options of the kinds. None: no
            negatives.
        seed: the same seed gives the same global batches for any number of processes (in page
            order: for the same number).
        rank, world_size: this process and the number of processes. None: those of
            torch.distributed; one process without it.
        options: options of the negatives: negatives_per_query, patch_min, patch_max, texture_source
            and the others in `fastneg pretrain --help`; and of `FeedingLoader`: device, threads,
            hw_decoder_load, prefetch_queue_depth, interpolation, normalisation, check_crc,
            max_bad_share, quarantine, cache (not with augment_with "dali"). A bad sample is
            replaced by the next good one.
    Raises:
        ValueError, BetonError: an argument or the file is invalid. RuntimeError: rank is None and
            several processes were started that have not joined each other. While iterating:
            BetonError for more bad samples than max_bad_share, TimeoutError for a batch that takes
            longer than `WAIT_S`.
    """

    def __init__(
        self,
        data: Data,
        batch_size: int,
        image_size: int | Callable[[int], int] = 224,
        *,
        augmentation: str | Augmentation | Sequence[str | Augmentation] = "moco_v2",
        augment_with: str = "auto",
        crop_area: tuple[float, float] = (0.2, 1.0),
        views: int = 2,
        texture: str | None = None,
        texture_patch: int | Callable[[int], int] = 96,
        order: str = "random",
        last: str = "drop",
        negatives: str | PretrainConfig | None = None,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        **options: Any,
    ) -> None:
        self._joined = rank is None and world_size is None
        if self._joined:
            rank, world_size = distributed.joined_place()
        self._size = image_size if callable(image_size) else lambda epoch: image_size
        config, feeding = self._parted(negatives, batch_size, options)
        told = {} if config is None else config.negative_options()
        texture = told.get("texture", texture)
        texture_patch = told.get("texture_patch", texture_patch)
        self._recipes = recipes_of(augmentation, views)
        check_options(augment_with, crop_area, texture, last, rank, world_size)
        device = device_of(feeding.get("device", "cpu")).type
        augment_with = augmenter(augment_with, device, feeding.get("cache") is not None)
        check_cache(augment_with, **feeding)
        self._augment_with, self._texture = augment_with, texture
        self._patch = texture_patch if callable(texture_patch) else lambda size: texture_patch
        self._crop_area, self._seed = crop_area, seed
        reader, self._owns_reader = opened(data)
        drawn = EpochOrder(
            len(reader),
            batch_size,
            order=order,
            pages=reader.pages if order == "page" else None,
            seed=seed,
            rank=rank,
            world_size=world_size,
            last="drop" if last == "drop" else "pad",
        )
        self._negatives = BatchNegatives(config, seed, drawn)
        # What the kernel augments comes from the pipeline as it is resized.
        by_dali = augment_with == "dali"
        super().__init__(
            reader,
            drawn,
            views=views,
            augment=by_dali,
            normalise=by_dali,
            textures=texture == "file",
            patches=texture == "image",
            **feeding,
        )

    def _parted(self, negatives, batch_size, options):
        """`negatives_config`, once the numbers and the names of the options fit."""
        side = whole("image_size", self._size(0), 1)
        parted = negatives_config(negatives, side, whole("batch_size", batch_size, 1), options)
        refuse_unknown(type(self), parted[1])
        return parted

    def __iter__(self) -> Iterator[ViewBatch]:
        """The next epoch: the first at the first time, then the one after the last that was begun;
        after `load_state_dict` what is left of that one."""
        return self.epoch(*self._next_pass())

    def epoch(self, epoch: int, start: int = 0) -> Iterator[ViewBatch]:
        """Iterate over the `ViewBatch`es of an epoch, from iteration `start` on."""
        for iteration, (request, tensors) in enumerate(self._run(epoch, start), start):
            query, key, *more = tensors
            texture = more.pop() if self._texture == "file" else None
            sources = None
            if self._texture == "image":
                patches, more = torch.stack(more[-2:], 1), more[:-2]
                sources = request.sources._replace(patches=patches)
            batch = ViewBatch(
                query,
                key,
                torch.from_numpy(request.index),
                self._label(request.index),
                tuple(more),
                texture,
                sources,
            )
            yield batch._replace(negatives=self._negatives(batch, epoch, iteration))

    def _request(self, place):
        # The numbers are drawn for the batch of all processes, and each takes its rows: so they do
        # not depend on how many processes there are.
        index, rows = self.order.global_batch(*place), self.order.rows
        rows = slice(rows.start, rows.start + self.order.valid(place[1]))
        index[rows], replaced = self._quarantine.replace(index[rows])
        sizes, generator = self.reader.sizes[index], batch_generator(self._seed, *place)
        views = [draw_view(recipe, sizes, self._crop_area, generator) for recipe in self._recipes]
        size = self._size(place[0])
        # streams of their own: the other numbers are those of "dali"
        orders, places = generator.spawn(2)
        params = [None] * len(views)
        if self._augment_with == "kernel":
            params = [
                augment_params(view, draw_jitter_order(len(index), orders)).rows(rows)
                for view in views
            ]
        made = {}
        if self._texture == "image":
            squares = draw_patches(sizes, self._patch(size), places)
            made["patches"] = {name: values[rows] for name, values in squares.items()}
            made["sources"] = self._sources(views[0], params[0], sizes, rows)
        if self._texture == "file":
            views = [*views, self._texture_view(views[0], sizes, index)]
            params = [*params, params[0]]
        if self._augment_with == "kernel":
            made.update(params=params, max_sigma=self._max_sigma())
        fed = [self._fed(view, rows) for view in views]
        return Request(index[rows], fed, size, replaced, **made)

    def _fed(self, view, rows):
        """{name: (N, …)}: what the pipeline is fed for a view of this process's rows."""
        if self._augment_with == "dali":
            return {name: values[rows] for name, values in dali_inputs(view).items()}
        return {name: view[name][rows] for name in ("roi_start", "roi_end")}

    def _texture_view(self, query, sizes, index):
        """The query's numbers, with its window at the same place of the texture."""
        window = window_shares(query, sizes)
        sides = self.reader.sizes_of(TEXTURE_FIELD)[index]
        start, end = (np.float32(window[:, corner] * sides) for corner in (slice(2), slice(2, 4)))
        return {**query, "roi_start": start, "roi_end": end}

    def _sources(self, query, params, sizes, rows):
        """The `TextureSources` of this process's rows, without their patches."""
        # DALI's operators know no order of the jitter: the texture gets the order in which they
        # are listed.
        plain = np.tile(np.arange(4, dtype=np.int32), (len(sizes), 1))
        params = params or augment_params(query, plain).rows(rows)
        window = torch.from_numpy(window_shares(query, sizes)[rows])
        return TextureSources(None, window, params, self._max_sigma(), *self._normalisation)

    def _max_sigma(self):
        """The largest blur that a view may get."""
        return max((recipe.blur_sigma[1] for recipe in self._recipes if recipe.blur_p), default=0.0)


def check_options(augment_with, crop_area, texture, last, rank, world_size):
    """ValueError for arguments that cannot be."""
    _check_area(crop_area)
    if rank is None or world_size is None:
        raise ValueError(f"rank is {rank}, world_size {world_size}: both or none were expected.")
    if augment_with not in ("auto", "dali", "kernel"):
        raise ValueError(
            f"augment_with is {augment_with!r}: 'auto', 'dali' or 'kernel' was expected."
        )
    if texture not in (None, "file", "image"):
        raise ValueError(f"texture is {texture!r}: None, 'file' or 'image' was expected.")
    if last not in ("drop", "short") or (last == "short" and world_size > 1):
        raise ValueError(
            f"last is {last!r}, world_size {world_size}: 'drop' was expected, or 'short' in "
            "one process."
        )


def _check_area(area):
    """ValueError for shares of an image's area that cannot be."""
    try:
        smallest, largest = area
        fits = 0 < smallest <= largest <= 1
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(
            f"crop_area is {area!r}: two fractions of the image's area were expected, the smallest "
            "and the largest, above 0 and up to 1."
        )


def recipes_of(augmentation, views):
    """One `Augmentation` for each view."""
    if whole("views", views, 1) < 2:
        raise ValueError(f"views is {views}: at least 2 were expected, a query and a key.")
    each = augmentation if isinstance(augmentation, (list, tuple)) else [augmentation] * views
    if len(each) != views:
        raise ValueError(
            f"augmentation has {len(each)} recipes: one for each of {views} views was expected."
        )
    return [one if isinstance(one, Augmentation) else augmentation_of(one) for one in each]


def check_cache(augment_with, cache=None, interpolation="bilinear", hw_decoder_load=None, **_):
    """ValueError where views cannot be cut from images that lie on the device."""
    if cache not in (None, "device"):
        raise ValueError(f"cache is {cache!r}: None or 'device' was expected.")
    if cache is None:
        return
    if (augment_with, interpolation, hw_decoder_load) != ("kernel", "bilinear", None):
        raise ValueError(
            f"cache is 'device', augment_with {augment_with!r}, interpolation {interpolation!r}, "
            f"hw_decoder_load {hw_decoder_load}: DALI cannot make views of cached images; "
            "'kernel', 'bilinear' and None were expected."
        )
