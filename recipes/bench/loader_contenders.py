"""The loaders that `fastneg bench loader` measures: each makes two views of the same JPEGs with
MoCo v2's changes, so far as it can.

A contender is a function (data) → epoch, where epoch(number) goes once through the images and
returns how many came out.
"""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import resource
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from fastneg.data.load.augmentation import IMAGENET_MEAN, IMAGENET_STD
from fastneg.data.load.loaders import TrainLoader
from fastneg.negatives.patch import patch_negatives

PATCH_SIZES = (16, 72)


@dataclass(frozen=True)
class BenchData:
    """The same images twice: class folders of JPEG files, and a .beton file."""

    folder: Path
    reader: object
    batch_size: int
    view_size: int
    threads: int
    device: str


def fastneg(data, **options):
    """Our loader."""
    options = {"threads": data.threads, **options}
    loader = TrainLoader(
        data.reader,
        data.batch_size,
        data.view_size,
        augmentation="moco_v2",
        device=data.device,
        **options,
    )

    def epoch(number):
        images = sum(len(batch.query) for batch in loader.epoch(number))
        _wait(data.device)
        return images

    epoch.close = loader.close
    return epoch


def fastneg_patch(data):
    """Our loader, and one patch negative of each query view."""
    loader = TrainLoader(
        data.reader,
        data.batch_size,
        data.view_size,
        augmentation="moco_v2",
        device=data.device,
        threads=data.threads,
    )

    def epoch(number):
        images = sum(
            len(patch_negatives(batch.query, 1, PATCH_SIZES)) for batch in loader.epoch(number)
        )
        _wait(data.device)
        return images

    epoch.close = loader.close
    return epoch


def fastneg_augment_kernel(data):
    """Our loader, with torchvision's own colour changes from `fastneg.kernels.augment` in place of
    DALI's."""
    return fastneg(data, augment="kernel")


def torchvision_pil(data):
    """What most people run: PIL images, two torchvision transforms in worker processes."""
    return _image_folder(data, _Views(_pil_view(data.view_size)))


def published_patch(data):
    """The published way to the patch negative: the same, and a Python loop that tiles the query
    view, patch by patch, in the worker."""
    return _image_folder(data, _Views(_pil_view(data.view_size), loop_of_patches))


def torchvision_v2(data):
    """torchvision's transforms v2 on uint8 tensors, which its own JPEG decoder makes."""
    from torchvision.io import decode_jpeg, read_file
    from torchvision.transforms import v2

    view = v2.Compose(
        [
            v2.RandomResizedCrop(data.view_size, (0.2, 1.0), antialias=True),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
            v2.RandomGrayscale(0.2),
            v2.RandomApply([v2.GaussianBlur(13, (0.1, 2.0))], 0.5),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    return _image_folder(data, _Views(view), loader=lambda path: decode_jpeg(read_file(path)))


def _image_folder(data, transform, **options):
    from torchvision.datasets import ImageFolder

    images = ImageFolder(data.folder, transform, **options)
    loader = torch.utils.data.DataLoader(
        images, data.batch_size, shuffle=True, num_workers=data.threads, drop_last=True
    )

    def epoch(number):
        count = 0
        for views, _ in loader:
            views = [view.to(data.device, non_blocking=True) for view in views]
            count += len(views[0])
        _wait(data.device)
        return count

    return epoch


def _pil_view(size):
    from torchvision import transforms as T

    return T.Compose(
        [
            T.RandomResizedCrop(size, (0.2, 1.0)),
            T.RandomApply([T.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
            T.RandomGrayscale(0.2),
            T.RandomApply([_PilBlur()], 0.5),
            T.RandomHorizontalFlip(),
            T.ToTensor(),
            T.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )


class _PilBlur:
    """MoCo's Gaussian blur."""

    def __call__(self, image):
        from PIL import ImageFilter

        return image.filter(ImageFilter.GaussianBlur(np.random.uniform(0.1, 2.0)))


class _Views:
    def __init__(self, view, negative=None):
        self.view, self.negative = view, negative

    def __call__(self, image):
        query, key = self.view(image), self.view(image)
        return (query, key) if self.negative is None else (query, key, self.negative(query))


def loop_of_patches(view):
    """(C, S, S) → (C, S, S): a grid of patches cut at random places, one at a time, as the
    published code does it."""
    size = view.shape[1]
    side = int(np.random.randint(*PATCH_SIZES))
    grid = size // side + 1
    tiled = torch.empty(view.shape[0], grid * side, grid * side)
    for row in range(grid):
        for column in range(grid):
            top, left = np.random.randint(0, size - side, 2)
            patch = view[:, top : top + side, left : left + side]
            tiled[:, row * side : (row + 1) * side, column * side : (column + 1) * side] = patch
    return tiled[:, :size, :size].contiguous()


def dali_file_reader(data):
    """DALI alone: its file reader, its random operators, the same changes, as its user would write
    them."""
    from nvidia.dali import fn, pipeline_def, types

    cuda = data.device == "cuda"

    @pipeline_def(enable_conditionals=True, exec_dynamic=True)
    def two_views():
        encoded, _ = fn.readers.file(file_root=str(data.folder), random_shuffle=True, name="reader")
        image = fn.decoders.image(encoded, device="mixed" if cuda else "cpu", output_type=types.RGB)
        views = []
        for _ in range(2):
            view = fn.random_resized_crop(
                image, size=data.view_size, random_area=(0.2, 1.0), antialias=True
            )
            jitter, gray = (
                fn.random.coin_flip(probability=0.8, dtype=types.BOOL),
                fn.random.coin_flip(probability=0.2, dtype=types.BOOL),
            )
            if jitter:
                view = fn.color_twist(
                    view,
                    brightness=fn.random.uniform(range=(0.6, 1.4)),
                    contrast=fn.random.uniform(range=(0.6, 1.4)),
                    saturation=fn.random.uniform(range=(0.6, 1.4)),
                    hue=fn.random.uniform(range=(-36.0, 36.0)),
                )
            if gray:
                view = fn.saturation(view, saturation=0.0)
            if fn.random.coin_flip(probability=0.5, dtype=types.BOOL):
                view = fn.gaussian_blur(view, sigma=fn.random.uniform(range=(0.1, 2.0)))
            views.append(
                fn.crop_mirror_normalize(
                    view,
                    dtype=types.FLOAT16 if cuda else types.FLOAT,
                    output_layout="HWC",
                    mirror=fn.random.coin_flip(),
                    mean=[255 * value for value in IMAGENET_MEAN],
                    std=[255 * value for value in IMAGENET_STD],
                )
            )
        return tuple(views)

    pipe = two_views(
        batch_size=data.batch_size,
        num_threads=data.threads,
        device_id=0 if cuda else None,
        prefetch_queue_depth=2,
        seed=0,
    )
    pipe.build()
    batches = pipe.epoch_size("reader") // data.batch_size

    def epoch(number):
        # two batches in flight, none beyond the epoch: it would be made on another contender's time
        for batch in range(batches + 1):
            if batch < batches:
                pipe.schedule_run()
            if batch:
                for output in pipe.outputs():
                    torch.from_dlpack(output.as_tensor())
        _wait(data.device)
        return batches * data.batch_size

    return epoch


def decode_only(data):
    """Decoding alone, with DALI: what no loader that decodes whole images can beat."""
    from nvidia.dali import fn, pipeline_def, types

    cuda = data.device == "cuda"

    @pipeline_def(exec_dynamic=True)
    def decoding():
        encoded = fn.external_source(name="encoded", dtype=types.UINT8, ndim=1, no_copy=True)
        return fn.decoders.image(
            encoded,
            device="mixed" if cuda else "cpu",
            output_type=types.RGB,
            adjust_orientation=False,
        )

    pipe = decoding(
        batch_size=data.batch_size,
        num_threads=data.threads,
        device_id=0 if cuda else None,
        prefetch_queue_depth=1,
    )
    pipe.build()

    def epoch(number):
        count = len(data.reader) // data.batch_size * data.batch_size
        for first in range(0, count, data.batch_size):
            encoded = [data.reader.encoded(i) for i in range(first, first + data.batch_size)]
            pipe.feed_input("encoded", encoded)
            pipe.run()
        _wait(data.device)
        return count

    return epoch


def copy_of_ready_tensors(data):
    """The limit: two views' worth of memory copied, nothing made."""
    dtype = torch.float16 if data.device == "cuda" else torch.float32
    ready = torch.zeros(
        data.batch_size, 3, data.view_size, data.view_size, dtype=dtype, device=data.device
    )
    ready = ready.to(memory_format=torch.channels_last)

    def epoch(number):
        batches = len(data.reader) // data.batch_size
        for _ in range(batches):
            for _ in range(2):
                ready.clone()
        _wait(data.device)
        return batches * data.batch_size

    return epoch


def ffcv(data):
    """FFCV's Loader on the same .beton file, two views: its crop, flip, brightness, contrast,
    saturation; it has no hue, gray or blur."""
    return _InProcess(_ffcv_epochs, data.reader.path, data.batch_size, data.view_size, data.threads)


def _ffcv_epochs(path, batch_size, size, threads):
    from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import (
        NormalizeImage,
        RandomBrightness,
        RandomContrast,
        RandomHorizontalFlip,
        RandomSaturation,
        ToTensor,
        ToTorchImage,
    )

    mean, std = (255 * np.array(values) for values in (IMAGENET_MEAN, IMAGENET_STD))

    def view():
        return [
            RandomResizedCropRGBImageDecoder((size, size), (0.2, 1.0), (3 / 4, 4 / 3)),
            RandomHorizontalFlip(),
            RandomBrightness(0.4, 0.8),
            RandomContrast(0.4, 0.8),
            RandomSaturation(0.4, 0.8),
            NormalizeImage(mean, std, np.float32),
            ToTensor(),
            ToTorchImage(),
        ]

    # A pipeline takes a field once, so each view has a loader of its own, with the same order.
    loaders = [
        Loader(
            path,
            batch_size=batch_size,
            num_workers=threads,
            order=OrderOption.RANDOM,
            os_cache=True,
            drop_last=True,
            seed=0,
            pipelines={"image": view(), "label": None, "crc32": None},
        )
        for _ in range(2)
    ]
    return lambda number: sum(len(query) for (query,), _ in zip(*loaders, strict=True))


class _InProcess:
    """A contender in a process of its own, which measures itself:

    FFCV's libraries and ours do not share one well.
    """

    def __init__(self, build, *arguments):
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, build, arguments), daemon=True)
        self._process.start()
        other.close()

    def measure(self, number, wait_s=240):
        """(images, seconds, CPU seconds) of an epoch."""
        self._pipe.send(number)
        if not self._pipe.poll(wait_s):
            raise TimeoutError(
                f"Waited {wait_s} s for an epoch of the loader in process {self._process.pid}."
            )
        answer = self._pipe.recv()
        if isinstance(answer, str):
            raise RuntimeError(answer)
        return answer

    def close(self):
        self._process.terminate()
        self._process.join(10)


def _serve(pipe, build, arguments):
    with contextlib.suppress(EOFError):
        epoch = None
        while True:
            number = pipe.recv()
            try:
                epoch = epoch or build(*arguments)
                pipe.send(measure(epoch, number))
            except Exception as error:  # told to the process that asked, which raises it
                pipe.send(f"{type(error).__name__}: {error}")


def measure(epoch, number):
    """(images, seconds, CPU seconds of this process and its finished children) of an epoch."""
    if hasattr(epoch, "measure"):
        return epoch.measure(number)
    before, began = _cpu_seconds(), time.perf_counter()
    images = epoch(number)
    return images, time.perf_counter() - began, _cpu_seconds() - before


def _cpu_seconds():
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _wait(device):
    if device == "cuda":
        torch.cuda.synchronize()


CONTENDERS = {
    contender.__name__: contender
    for contender in (
        fastneg,
        fastneg_augment_kernel,
        fastneg_patch,
        torchvision_pil,
        torchvision_v2,
        published_patch,
        ffcv,
        dali_file_reader,
        decode_only,
        copy_of_ready_tensors,
    )
}
BASES = {"fastneg_patch": "published_patch", "published_patch": "published_patch"}
"""What a contender is compared with, where that is not torchvision_pil."""


def missing(name):
    """Why a contender cannot run here, or None."""
    if name == "ffcv" and importlib.util.find_spec("ffcv") is None:
        return "not installed: pip install 'fastneg[ffcv]'"
    return None
