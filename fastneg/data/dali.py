"""The DALI pipelines: one definition serves training and evaluation, on the CPU and on a GPU.

The pipeline holds no randomness and no order. For each batch it is given the encoded images and, for each view, the numbers that
`augmentation` drew; so a loader is a function of (seed, epoch, iteration) and can start anywhere.
"""

from __future__ import annotations

import queue
import threading
from collections import deque

import numpy as np
import torch
from nvidia.dali import fn, pipeline_def, types

from fastneg.config import default_workers
from fastneg.data.augmentation import AUGMENTATIONS, IMAGENET_MEAN, IMAGENET_STD, batch_generator, draw_view, eval_window
from fastneg.data.batch import EvalBatch, ViewBatch
from fastneg.data.beton import BetonError
from fastneg.data.image_files import decoded_size
from fastneg.data.order import EpochOrder

BATCHES_AHEAD = 2
WAIT_S = 300.0
"""A batch that takes longer than this is a hang: the wait ends with an error that says what it waited for."""

_VIEW_INPUTS = {
    "roi_start": (types.FLOAT, 1),
    "roi_end": (types.FLOAT, 1),
    "twist": (types.BOOL, 0),
    "brightness": (types.FLOAT, 0),
    "contrast": (types.FLOAT, 0),
    "saturation": (types.FLOAT, 0),
    "hue": (types.FLOAT, 0),
    "blur": (types.BOOL, 0),
    "sigma": (types.FLOAT, 0),
    "mirror": (types.INT32, 0),
}
_PLAIN_INPUTS = ("roi_start", "roi_end")


def _inputs(view, names):
    return {name: fn.external_source(name=f"{name}{view}", dtype=_VIEW_INPUTS[name][0], ndim=_VIEW_INPUTS[name][1]) for name in names}


def _resize(image, size, params):
    # Decoding is whole and the crop comes with the resize: one decode serves all views, and region-of-interest decoding is not trusted.
    return fn.resize(
        image, size=(size, size), roi_start=params["roi_start"], roi_end=params["roi_end"], interp_type=types.INTERP_LINEAR, antialias=True
    )


def _normalise(image, dtype, mirror=0):
    mean, std = [255 * value for value in IMAGENET_MEAN], [255 * value for value in IMAGENET_STD]
    return fn.crop_mirror_normalize(image, dtype=dtype, output_layout="HWC", mirror=mirror, mean=mean, std=std)


@pipeline_def(enable_conditionals=True, exec_dynamic=True)
def _pipeline(views, size, augment, decoder, dtype):
    """`views` views of each image; plain windows, or with the colour changes, blur and flip that `augment` stands for."""
    encoded = fn.external_source(name="encoded", dtype=types.UINT8, ndim=1, no_copy=True)
    # DALI would turn an image by its EXIF tag, and the sizes in the file would not be the sizes of the pixels any more.
    image = fn.decoders.image(encoded, device=decoder, output_type=types.RGB, adjust_orientation=False)
    outputs = []
    for view in range(views):
        params = _inputs(view, _VIEW_INPUTS if augment else _PLAIN_INPUTS)
        pixels = _resize(image, size, params)
        if augment:
            if params["twist"]:
                pixels = fn.color_twist(
                    pixels,
                    brightness=params["brightness"],
                    contrast=params["contrast"],
                    saturation=params["saturation"],
                    hue=params["hue"],
                )
            if params["blur"]:
                pixels = fn.gaussian_blur(pixels, sigma=params["sigma"])
            pixels = _normalise(pixels, dtype, params["mirror"])
        else:
            pixels = _normalise(pixels, dtype)
        outputs.append(pixels)
    return tuple(outputs)


class _Loader:
    """Feeds a pipeline from a thread, so that reading, drawing and decoding hide behind the consumer's work."""

    def __init__(self, reader, batch_size, image_size, *, views, augment, device, threads, check_crc=False):
        self.reader = reader
        self.image_size = image_size
        self.device = torch.device(device)
        self.check_crc = check_crc
        if check_crc and reader.checksums is None:
            raise BetonError(
                f"{reader.path} holds no checksums (no crc32 field), so they cannot be checked: encode it again, or leave check_crc off."
            )
        cuda = self.device.type == "cuda"
        if cuda and self.device.index is None:
            self.device = torch.device("cuda", torch.cuda.current_device())
        self._pipe = _pipeline(
            views,
            image_size,
            augment,
            "mixed" if cuda else "cpu",
            types.FLOAT16 if cuda else types.FLOAT,
            batch_size=batch_size,
            num_threads=threads or default_workers(),
            device_id=self.device.index if cuda else None,
            prefetch_queue_depth=1,
            seed=0,
        )
        self._pipe.build()
        self._running = None

    def _run(self, requests):
        """Yield (index, tensors) for each request, an (index, views) pair, where views are the drawn numbers of each view."""
        if self._running is not None:
            self._running.close()
        self._running = _Producer(self._produce(requests), WAIT_S, f"the next batch of {self.reader.path}")
        yield from self._running

    def _produce(self, requests):
        pending = deque()
        try:
            for index, views in _announced(requests, self.reader):
                pending.append((index, self._feed(index, views)))
                if len(pending) == BATCHES_AHEAD:
                    yield self._take(pending)
            while pending:
                yield self._take(pending)
        finally:
            while pending:  # an epoch that was left early: what was begun must come out before the next one begins
                self._take(pending)

    def _feed(self, index, views):
        encoded = [self.reader.encoded(int(i)) for i in index]
        if self.check_crc:
            self._check(index)
        self._pipe.feed_input("encoded", encoded)
        for number, view in enumerate(views):
            for name, values in view.items():
                self._pipe.feed_input(f"{name}{number}", values)
        self._pipe.schedule_run()
        return encoded  # DALI reads these bytes in place: they must live until the outputs are there

    def _take(self, pending):
        index, encoded = pending.popleft()
        try:
            outputs = self._pipe.outputs()
        except RuntimeError as error:
            pending.clear()
            raise BetonError(self._explain(index, encoded, error)) from error
        tensors = [torch.from_dlpack(output.as_tensor()).permute(0, 3, 1, 2) for output in outputs]
        if self.device.type == "cuda":
            # DALI takes a tensor's memory back in the order of its own stream, not of the stream that still reads it: a copy owns itself.
            tensors = [tensor.clone(memory_format=torch.channels_last) for tensor in tensors]
        return index, tensors

    def _check(self, index):
        for i in index:
            if not self.reader.matches_checksum(i):
                raise BetonError(f"{self.reader.describe(i)} fails its checksum: the file is damaged. Run fastneg verify on it.")

    def _explain(self, index, encoded, error):
        """DALI names only a place in the batch, if at all: find the samples that cannot be decoded."""
        bad = []
        for i, data in zip(index, encoded, strict=True):
            try:
                decoded_size(data.tobytes())
            except BetonError:
                bad.append(self.reader.describe(i))
        if bad:
            listed = ", ".join(bad[:5])
            return f"{len(bad)} of {len(index)} images of a batch cannot be decoded: {listed}. Run fastneg verify on it."
        return f"DALI could not make the batch with samples {index[0]} … of {self.reader.path}: {error}"

    def _label(self, index):
        return None if self.reader.labels is None else torch.from_numpy(self.reader.labels[index])

    def close(self):
        """Stop the feeding thread; the loader cannot be used afterwards."""
        if self._running is not None:
            self._running.close()
        self._pipe = None


class TrainLoader(_Loader):
    """Two augmented views of each image, in an order drawn from (seed, epoch).

    Args:
        reader: `BetonReader`.
        batch_size: images a step over all processes.
        image_size: side of the views in pixels.
        augmentation: a name of `AUGMENTATIONS`.
        crop_area: (smallest, largest) share of the image's area in a crop.
        device: "cpu", or "cuda" for decoding and augmenting there (float16 views).
        seed, rank, world_size: the same seed gives the same global batches for any number of processes.
        threads: decoding threads; 0 takes all cores.
        check_crc: compare each sample with its checksum; BetonError on a difference.
    """

    def __init__(
        self,
        reader,
        batch_size,
        image_size,
        *,
        augmentation,
        crop_area=(0.2, 1.0),
        device="cpu",
        seed=0,
        rank=0,
        world_size=1,
        threads=0,
        check_crc=False,
    ):
        self.order = EpochOrder(len(reader), batch_size, seed=seed, rank=rank, world_size=world_size)
        self._recipe, self._crop_area, self._seed = AUGMENTATIONS[augmentation], crop_area, seed
        super().__init__(
            reader, self.order.local_batch_size, image_size, views=2, augment=True, device=device, threads=threads, check_crc=check_crc
        )

    def __len__(self):
        return self.order.iterations

    def epoch(self, epoch, start=0):
        """Iterate over the `ViewBatch`es of an epoch, from iteration `start` on."""
        for index, (query, key) in self._run(self._requests(epoch, start)):
            yield ViewBatch(query, key, torch.from_numpy(index), self._label(index))

    def _requests(self, epoch, start):
        for iteration in range(start, len(self)):
            index, rows = self.order.global_batch(epoch, iteration), self.order.rows
            sizes, generator = self.reader.sizes[index], batch_generator(self._seed, epoch, iteration)
            views = [draw_view(self._recipe, sizes, self._crop_area, generator) for _ in range(2)]
            local = [{name: values[rows] for name, values in view.items()} for view in views]
            yield index[rows], local


class CropLoader(_Loader):
    """One random crop and flip of each image: what a linear probe trains on. Every sample once an epoch; the last batch is shorter."""

    def __init__(self, reader, batch_size, image_size, *, crop_area=(0.08, 1.0), device="cpu", seed=0, threads=0):
        self._order, self._crop_area, self._seed = EpochOrder(len(reader), batch_size, seed=seed, last="pad"), crop_area, seed
        super().__init__(reader, batch_size, image_size, views=1, augment=True, device=device, threads=threads)

    def __len__(self):
        return self._order.iterations

    def epoch(self, epoch):
        """Iterate over the `EvalBatch`es of an epoch."""
        for index, (images,) in self._run(self._requests(epoch)):
            yield EvalBatch(images, torch.from_numpy(index), self._label(index))

    def _requests(self, epoch):
        for iteration in range(len(self)):
            index = self._order.batch(epoch, iteration)[: self._order.valid(iteration)]
            generator = batch_generator(self._seed, epoch, iteration)
            yield index, [draw_view(AUGMENTATIONS["crop_flip"], self.reader.sizes[index], self._crop_area, generator)]


class EvalLoader(_Loader):
    """The central window of each image, every sample exactly once, in the order of the file; the last batch is shorter.

    Args:
        resize: side to which the shorter side is resized before the central crop, default image_size × 256/224.
        (the others as in `TrainLoader`)
    """

    def __init__(self, reader, batch_size, image_size, *, resize=None, device="cpu", threads=0):
        self._resize, self._batch_size = resize or round(image_size * 256 / 224), batch_size
        if self._resize < image_size:
            raise ValueError(f"resize is {self._resize}, below image_size {image_size}: the central crop would not fit.")
        super().__init__(reader, batch_size, image_size, views=1, augment=False, device=device, threads=threads)

    def __len__(self):
        return -(-len(self.reader) // self._batch_size)

    def __iter__(self):
        for index, (images,) in self._run(self._requests()):
            yield EvalBatch(images, torch.from_numpy(index), self._label(index))

    def _requests(self):
        for first in range(0, len(self.reader), self._batch_size):
            index = np.arange(first, min(first + self._batch_size, len(self.reader)))
            start, end = eval_window(self.reader.sizes[index], self.image_size, self._resize)
            yield index, [{"roi_start": start, "roi_end": end}]


def _announced(requests, reader):
    """The requests, each named to the operating system while the one before is worked on."""
    previous = None
    for request in requests:
        reader.will_need(request[0])
        if previous is not None:
            yield previous
        previous = request
    if previous is not None:
        yield previous


class _Producer:
    """Runs a generator in a thread, a bounded number of items ahead; its exception is raised where the items are taken."""

    def __init__(self, generator, wait_s, what, ahead=BATCHES_AHEAD):
        self._items, self._stop = queue.Queue(ahead), threading.Event()
        self._wait_s, self._what = wait_s, what
        self._thread = threading.Thread(target=self._work, args=(generator,), daemon=True, name="fastneg-loader")
        self._thread.start()

    def _work(self, generator):
        try:
            for item in generator:
                self._put(item, None)
                if self._stop.is_set():
                    break
            generator.close()
            self._put(None, StopIteration())
        except BaseException as error:
            self._put(None, error)

    def _put(self, item, error):
        while not self._stop.is_set():
            try:
                self._items.put((item, error), timeout=0.1)
                return
            except queue.Full:
                continue

    def __iter__(self):
        try:
            while True:
                try:
                    item, error = self._items.get(timeout=self._wait_s)
                except queue.Empty:
                    raise TimeoutError(f"Waited {self._wait_s:.0f} s for {self._what}.") from None
                if isinstance(error, StopIteration):
                    return
                if error is not None:
                    raise error
                yield item
        finally:
            self.close()

    def close(self):
        """Stop the thread and wait for it."""
        self._stop.set()
        self._thread.join(self._wait_s)
        if self._thread.is_alive():
            raise TimeoutError(f"Waited {self._wait_s:.0f} s for the thread that makes {self._what} to stop.")
