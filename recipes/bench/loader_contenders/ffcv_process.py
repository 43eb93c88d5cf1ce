"""FFCV's loader in a separate process."""

from __future__ import annotations

import contextlib
import multiprocessing

import numpy as np

from fastneg.data.load.augmentation import IMAGENET_MEAN, IMAGENET_STD
from fastneg.recipes.bench.loader_contenders.common import measure


def ffcv(data):
    """FFCV's Loader on the same .beton file, two views: its crop, flip, brightness, contrast,
    saturation.

    Hue, gray, blur and solarisation are of FFCV-SSL, a fork under the same package name, which is
    not on PyPI: the views here lack them.
    """
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
    """A contender in a process of its own, which measures itself.

    FFCV's libraries and ours do not share a process well.
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
