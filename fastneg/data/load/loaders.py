"""The loaders: training views, probe crops and evaluation windows.

A loader is a function of (seed, epoch, iteration): it can start anywhere.
"""

from __future__ import annotations

import numpy as np
import torch

from fastneg.config import IMAGENET
from fastneg.config.augmentation import EVALUATION, LINEAR_PROBE, Augmentation, augmentation_of
from fastneg.data.beton.reader import TEXTURE_FIELD
from fastneg.data.load.augmentation import (
    augment_params,
    batch_generator,
    dali_inputs,
    draw_jitter_order,
    draw_patches,
    draw_view,
    eval_window,
)
from fastneg.data.load.batch import EvalBatch, TextureSources, ViewBatch
from fastneg.data.load.feeding import FeedingLoader, Request
from fastneg.data.load.order import EpochOrder


class TrainLoader(FeedingLoader):
    """Augmented views of each image, in an order drawn from (seed, epoch).

    Args:
        reader: `BetonReader`.
        batch_size: images a step over all processes.
        image_size: side of the views in pixels, or a function that gives it for an epoch.
        augmentation: an `Augmentation` or a name of AUGMENTATIONS (`fastneg.config.augmentation`),
            or a list of them, one for each view.
        augment_with: what changes colours, blurs and flips: "dali", its operators; or "kernel",
            `fastneg.kernels.augment` after DALI's decoding and crop. The crops and the drawn
            numbers are the same.
        normalisation: `Normalisation` of the views.
        crop_area: (smallest, largest) share of the image's area in a crop, of recipes that have
            none of their own.
        views: how many views; from the third on they are the batch's `more`.
        texture: "file" for the batch's `texture`, a view of the texture that the file pairs with
            each image, with the numbers of the query (its window at the same place in shares of
            height and width); "image" for its `texture_sources`. None for neither.
        texture_patch: side of the source patches in pixels, or a function that gives it for a size
            of the views (with texture "image"). An image with a shorter side gives squares of that
            side, enlarged.
        order: a name of `ORDERS`.
        last: of a batch that would be incomplete: "drop" it, or "short", so that every sample comes
            once an epoch (one process alone).
        device: "cpu", or "cuda" for decoding and augmenting there (float16 views).
        seed, rank, world_size: the same seed gives the same global batches for any number of
            processes (page order: for the same number).
        threads: decoding threads; 0 takes all cores.
        hw_decoder_load: as of `build_pipeline`.
        check_crc: compare each sample with its checksum; one that differs is a bad one.
        max_bad_share: the share of the data set that may be bad; a bad sample is replaced by the
            next good one.
        quarantine: {index: reason} of samples that are known to be bad.
    Raises (from `epoch`):
        BetonError: more samples are bad than may be. TimeoutError: a batch took longer than
            `WAIT_S`.
    """

    def __init__(
        self,
        reader,
        batch_size,
        image_size,
        *,
        augmentation,
        augment_with="dali",
        normalisation=IMAGENET,
        crop_area=(0.2, 1.0),
        views=2,
        texture=None,
        texture_patch=96,
        order="random",
        last="drop",
        device="cpu",
        seed=0,
        rank=0,
        world_size=1,
        threads=0,
        hw_decoder_load=None,
        check_crc=False,
        max_bad_share=0.0,
        quarantine=None,
    ):
        if views < 2:
            raise ValueError(f"views is {views}: at least 2 were expected, a query and a key.")
        each = augmentation if isinstance(augmentation, (list, tuple)) else [augmentation] * views
        if len(each) != views:
            raise ValueError(
                f"augmentation has {len(each)} recipes: one for each of {views} views was expected."
            )
        self._recipes = [
            one if isinstance(one, Augmentation) else augmentation_of(one) for one in each
        ]
        if augment_with not in ("dali", "kernel"):
            raise ValueError(f"augment_with is {augment_with!r}: 'dali' or 'kernel' was expected.")
        if texture not in (None, "file", "image"):
            raise ValueError(f"texture is {texture!r}: None, 'file' or 'image' was expected.")
        if last not in ("drop", "short") or (last == "short" and world_size > 1):
            raise ValueError(
                f"last is {last!r}, world_size {world_size}: 'drop' was expected, or 'short' in "
                "one process."
            )
        self._augment_with, self._texture = augment_with, texture
        self._patch = texture_patch if callable(texture_patch) else lambda size: texture_patch
        pages = reader.pages if order == "page" else None
        self._size = image_size if callable(image_size) else lambda epoch: image_size
        self._crop_area, self._seed = crop_area, seed
        super().__init__(
            reader,
            EpochOrder(
                len(reader),
                batch_size,
                order=order,
                pages=pages,
                seed=seed,
                rank=rank,
                world_size=world_size,
                last="drop" if last == "drop" else "pad",
            ),
            views=views,
            augment=augment_with == "dali",
            normalisation=normalisation,
            normalise=augment_with == "dali",
            textures=texture == "file",
            patches=texture == "image",
            device=device,
            threads=threads,
            hw_decoder_load=hw_decoder_load,
            check_crc=check_crc,
            max_bad_share=max_bad_share,
            quarantine=quarantine,
        )

    def epoch(self, epoch, start=0):
        """Iterate over the `ViewBatch`es of an epoch, from iteration `start` on."""
        for request, (query, key, *more) in self._run(epoch, start):
            texture = more.pop() if self._texture == "file" else None
            sources = None
            if self._texture == "image":
                patches, more = torch.stack(more[-2:], 1), more[:-2]
                rest = request.sources
                sources = TextureSources(
                    patches, rest.window.to(self.device), rest.params.to(self.device), *rest[3:]
                )
            yield ViewBatch(
                query,
                key,
                torch.from_numpy(request.index),
                self._label(request.index),
                tuple(more),
                texture,
                sources,
            )

    def _request(self, place):
        # The numbers are drawn for the batch of all processes, and each takes its rows.
        rows, index = self.order.rows, self.order.global_batch(*place)
        rows = slice(rows.start, rows.start + self.order.valid(place[1]))
        index[rows], replaced = self._quarantine.replace(index[rows])
        sizes, generator = self.reader.sizes[index], batch_generator(self._seed, *place)
        views = [draw_view(recipe, sizes, self._crop_area, generator) for recipe in self._recipes]
        size = self._size(place[0])
        # streams of their own: the other numbers are those of "dali"
        orders, places = generator.spawn(2)
        if self._augment_with == "dali":
            params = [None] * len(views)
        else:
            params = [
                augment_params(view, draw_jitter_order(len(index), orders)).rows(rows)
                for view in views
            ]
        window = np.concatenate(
            [views[0][name] / sizes for name in ("roi_start", "roi_end")], 1
        ).astype(np.float32)
        if self._texture == "file":
            sides = self.reader.sizes_of(TEXTURE_FIELD)[index]
            start, end = (
                np.float32(window[:, corner] * sides) for corner in (slice(2), slice(2, 4))
            )
            views, params = (
                [*views, {**views[0], "roi_start": start, "roi_end": end}],
                [*params, params[0]],
            )
        made = {"patches": None, "sources": None}
        sigma = max(
            (recipe.blur_sigma[1] for recipe in self._recipes if recipe.blur_p), default=0.0
        )
        if self._texture == "image":
            # DALI's operators know no order of the jitter: the texture gets the order in which they
            # are listed.
            own = params[0] or augment_params(
                views[0], np.tile(np.arange(4, dtype=np.int32), (len(index), 1))
            ).rows(rows)
            made = {
                "patches": {
                    name: values[rows]
                    for name, values in draw_patches(sizes, self._patch(size), places).items()
                },
                "sources": TextureSources(
                    None, torch.from_numpy(window[rows]), own, sigma, *self._normalisation
                ),
            }
        if self._augment_with == "dali":
            local = [
                {name: values[rows] for name, values in dali_inputs(view).items()} for view in views
            ]
            return Request(index[rows], local, size, replaced, **made)
        windows = [{name: view[name][rows] for name in ("roi_start", "roi_end")} for view in views]
        return Request(index[rows], windows, size, replaced, params, sigma, **made)


class CropLoader(FeedingLoader):
    """One random crop and flip of each image: what a linear probe trains on.

    Every sample once an epoch; the last batch is shorter.

    A sample that cannot be used raises BetonError, unless max_bad_share allows for it: then the
    next good one stands in for it.

    Args:
        samples: positions to take; None takes the whole file. Of a part no sample is replaced:
            another might not belong to it.
        interpolation: "bilinear" or "bicubic", how the crops are resized.
        (the others as in `TrainLoader`)
    """

    def __init__(
        self,
        reader,
        batch_size,
        image_size,
        *,
        device="cpu",
        seed=0,
        threads=0,
        max_bad_share=0.0,
        samples=None,
        normalisation=IMAGENET,
        interpolation="bilinear",
    ):
        self._image_size, self._recipe, self._seed = image_size, augmentation_of(LINEAR_PROBE), seed
        self._samples, max_bad_share = (
            (np.arange(len(reader)), max_bad_share)
            if samples is None
            else (np.asarray(samples), 0.0)
        )
        order = EpochOrder(len(self._samples), batch_size, seed=seed, last="pad")
        super().__init__(
            reader,
            order,
            views=1,
            augment=True,
            device=device,
            threads=threads,
            max_bad_share=max_bad_share,
            normalisation=normalisation,
            interpolation=interpolation,
        )

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
    """The central window of each image, every sample exactly once, in the order of the file; the
    last batch is shorter.

    A sample that cannot be used raises BetonError, unless max_bad_share allows for it: then it is
    left out, and `quarantine` names it. No other takes its place: that one would count twice.

    Args:
        resize: side to which the shorter side is resized before the central crop, default
            image_size × 256/224.
        samples: positions to take, in this order; None takes the whole file.
        (the others as in `TrainLoader` and `CropLoader`)
    """

    def __init__(
        self,
        reader,
        batch_size,
        image_size,
        *,
        resize=None,
        device="cpu",
        threads=0,
        samples=None,
        max_bad_share=0.0,
        normalisation=IMAGENET,
        interpolation="bilinear",
    ):
        self._resize, self._image_size = (
            resize or round(image_size * EVALUATION["resize"]),
            image_size,
        )
        if self._resize < image_size:
            raise ValueError(
                f"resize is {self._resize}, below image_size {image_size}: the central crop would "
                "not fit."
            )
        self._samples = np.arange(len(reader)) if samples is None else np.asarray(samples)
        order = EpochOrder(len(self._samples), batch_size, order="sequential", last="pad")
        super().__init__(
            reader,
            order,
            views=1,
            augment=False,
            device=device,
            threads=threads,
            max_bad_share=max_bad_share,
            normalisation=normalisation,
            interpolation=interpolation,
        )

    def __iter__(self):
        for request, (images,) in self._run(0):
            index = request.index
            if not request.kept.all():
                index, images = (
                    index[request.kept],
                    images[torch.from_numpy(request.kept).to(images.device)],
                )
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
