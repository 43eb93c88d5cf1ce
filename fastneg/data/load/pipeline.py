"""The DALI pipeline: one definition serves training and evaluation, on the CPU and on a GPU.

It holds no randomness and no order. For each batch it is given the encoded images and, for each
view, the numbers that `augmentation` drew.

Inputs, by name:
    encoded: a list of (bytes,) uint8 arrays, which must live until the outputs are there.
    size: (N, 2) float32, height and width of the views.
    roi_start<v>, roi_end<v>, for each view v: (N, 2) float32, the window in pixels of the image;
        with `augment` all arrays of `dali_inputs`.
    encoded_texture, with `textures`: as encoded; the numbers of its view are those of view `views`.
    patch_size, roi_start_patch0, … with `patches`: what `draw_patches` gives.
Outputs:
    (N, 3) int64, height, width and channels as decoded; then for each view (N, H, W, 3),
    normalised, float16 on CUDA, float32 on the CPU, or uint8 as resized; then the two patches.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from nvidia.dali import fn, math, pipeline_def, types

from fastneg.config import IMAGENET, default_workers

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

PREFETCH_QUEUE_DEPTH = 2
"""Batches that DALI works on at a time: one is decoded while the other is changed."""
PREALLOCATED = 1 << 30
"""Bytes at most that a GPU's JPEG engines are told to take beforehand."""


def _inputs(view, names):
    return {
        name: fn.external_source(
            name=f"{name}{view}", dtype=_VIEW_INPUTS[name][0], ndim=_VIEW_INPUTS[name][1]
        )
        for name in names
    }


def _decode(encoded, decoder, **options):
    # DALI would turn an image by its EXIF tag, and the sizes in the file would not be the sizes of
    # the pixels any more.
    return fn.decoders.image(
        encoded, device=decoder, output_type=types.RGB, adjust_orientation=False, **options
    )


INTERPOLATION = {"bilinear": types.INTERP_LINEAR, "bicubic": types.INTERP_CUBIC}


def _resize(image, size, params, interpolation="bilinear"):
    # Decoding is whole and the crop comes with the resize: one decode serves all views, and
    # region-of-interest decoding is not trusted.
    window = {"roi_start": params["roi_start"], "roi_end": params["roi_end"]}
    return fn.resize(
        image, size=size, **window, interp_type=INTERPOLATION[interpolation], antialias=True
    )


def _normalise(image, dtype, normalisation, mirror=0):
    mean, std = ([255 * value for value in values] for values in normalisation)
    return fn.crop_mirror_normalize(
        image, dtype=dtype, output_layout="HWC", mirror=mirror, mean=mean, std=std
    )


@pipeline_def(enable_conditionals=True, exec_dynamic=True)
def _pipeline(
    views, augment, normalisation, interpolation, textures, patches, decoder, dtype, options
):
    """`views` views of each image: plain windows, or with the colour changes, blur and flip that
    `augment` stands for."""
    encoded = fn.external_source(name="encoded", dtype=types.UINT8, ndim=1, no_copy=True)
    size = fn.external_source(name="size", dtype=types.FLOAT, ndim=1)
    image = _decode(encoded, decoder, **options[0])
    outputs = [image.shape()]
    sources = [image] * views
    if textures:
        sources.append(
            _decode(
                fn.external_source(name="encoded_texture", dtype=types.UINT8, ndim=1, no_copy=True),
                decoder,
                **options[-1],
            )
        )
    for view, source in enumerate(sources):
        params = _inputs(view, _VIEW_INPUTS if augment else _PLAIN_INPUTS)
        pixels = _resize(source, size, params, interpolation)
        if augment:
            # In float32 from here on: DALI's CPU operators spend more on rounding to uint8 than on
            # the change itself.
            if params["twist"]:
                twisted = fn.color_twist(
                    pixels,
                    brightness=params["brightness"],
                    contrast=params["contrast"],
                    saturation=params["saturation"],
                    hue=params["hue"],
                    dtype=types.FLOAT,
                )
                pixels = math.min(math.max(twisted, 0.0), 255.0)
            else:
                pixels = fn.cast(pixels, dtype=types.FLOAT)
            if params["blur"]:
                pixels = fn.gaussian_blur(pixels, sigma=params["sigma"], dtype=types.FLOAT)
            pixels = _normalise(pixels, dtype, normalisation, params["mirror"])
        elif normalisation is not None:
            pixels = _normalise(pixels, dtype, normalisation)
        outputs.append(pixels)
    if patches:
        side = fn.external_source(name="patch_size", dtype=types.FLOAT, ndim=1)
        for number in range(2):
            outputs.append(_resize(image, side, _inputs(f"_patch{number}", _PLAIN_INPUTS)))
    return tuple(outputs)


def define_pipeline(
    batch_size,
    *,
    views,
    augment,
    device,
    threads,
    normalisation=IMAGENET,
    interpolation="bilinear",
    textures=False,
    patches=False,
    hw_decoder_load=None,
    hints=(None,),
    prefetch_queue_depth=PREFETCH_QUEUE_DEPTH,
):
    """The pipeline, which takes neither memory nor a GPU until it is built; arguments as of
    `build_pipeline`."""
    cuda = device.type == "cuda"
    if hw_decoder_load is not None and not cuda:
        raise ValueError(
            f"hw_decoder_load is {hw_decoder_load}, but the device is {device}: only a GPU has "
            "JPEG engines."
        )
    return _pipeline(
        views,
        augment,
        normalisation,
        interpolation,
        textures,
        patches,
        "mixed" if cuda else "cpu",
        types.FLOAT16 if cuda else types.FLOAT,
        decoder_options(hw_decoder_load, hints if cuda else (None,)),
        batch_size=batch_size,
        num_threads=threads or default_workers(),
        device_id=device.index if cuda else None,
        prefetch_queue_depth=prefetch_queue_depth,
        seed=0,
    )


def build_pipeline(batch_size, *, prefetch_queue_depth=PREFETCH_QUEUE_DEPTH, **options):
    """A `FedPipeline` that is ready to be fed.

    Args:
        batch_size: the largest number of images in a batch.
        views: views of each image.
        augment: True for colour changes, blur and flip, False for plain windows.
        device: torch device with an index if it is CUDA.
        threads: decoding threads; 0 takes all cores.
        normalisation: `Normalisation` of the views; None leaves plain windows as they are resized,
            uint8.
        interpolation: one of INTERPOLATIONS: how the windows are resized, with antialiasing.
        textures: True for one more view, of an image that is paired with each.
        patches: True for two more windows, as they are resized, uint8.
        hw_decoder_load: the share of the images that a GPU's JPEG engines get, 0 to 1; None leaves
            it to DALI (0.65). CUDA only.
        hints: `decoder_hint` of the images, and of the paired ones if there are any. On the CPU
            they mean nothing.
        prefetch_queue_depth: batches that DALI works on at a time, each with memory of its own.
    Raises:
        ValueError: hw_decoder_load on the CPU.
    """
    pipe = define_pipeline(batch_size, prefetch_queue_depth=prefetch_queue_depth, **options)
    pipe.build()
    return FedPipeline(pipe, prefetch_queue_depth)


class FedPipeline:
    """Runs a pipeline on batches in the order in which they are given.

    DALI's first run takes as many batches as its queue is deep, so it waits until these are there.
    Where fewer are given before the first is taken, the last one stands in for those that lack, and
    its further outputs are passed over.

    Args:
        pipe: built DALI pipeline, all of whose inputs are external sources.
        depth: its prefetch_queue_depth.
    """

    def __init__(self, pipe, depth):
        self._pipe, self._depth = pipe, depth
        self._begun, self._last = False, None
        # Of the batches that DALI holds, in their order: None, or the inputs of one that only
        # stands in. DALI may read these in place.
        self._spare = deque()

    def run(self, inputs):
        """Begin a batch, {name of an input: values}; waits for nothing.

        The caller keeps what DALI reads in place until the outputs are there.
        """
        self._feed(inputs, None)
        self._last = None if self._begun else inputs

    def outputs(self):
        """The outputs of the oldest batch that was not taken; waits for them.

        Raises:
            RuntimeError: DALI could not make a batch; the pipeline is dead.
        """
        while not self._begun:
            self._feed(self._last, self._last)
        self._last = None
        while self._spare.popleft() is not None:
            self._pipe.outputs()
        return self._pipe.outputs()

    def _feed(self, inputs, spare):
        for name, values in inputs.items():
            self._pipe.feed_input(name, values)
        self._spare.append(spare)
        self._begun = self._begun or len(self._spare) == self._depth
        if self._begun:
            self._pipe.schedule_run()


def decoder_hint(sizes, batch_size):
    """(height, width) of the images for which a GPU's JPEG engines take memory beforehand: of a
    hundred images, 99 are no higher, and 99 no wider. None where a batch of such images takes more
    than `PREALLOCATED`: a few huge ones would have memory for all.

    Args:
        sizes: (samples, 2) height and width.
        batch_size: the largest number of images in a batch.
    """
    height, width = (int(side) for side in np.quantile(sizes, 0.99, axis=0, method="higher"))
    return (height, width) if 3 * height * width * batch_size <= PREALLOCATED else None


def decoder_hints(reader, fields, batch_size):
    """The `decoder_hint` of each image field of a data set."""
    return [decoder_hint(reader.sizes_of(field), batch_size) for field in fields]


def decoder_options(hw_decoder_load, hints):
    """The options of the decoder of each image field."""
    load = {} if hw_decoder_load is None else {"hw_decoder_load": hw_decoder_load}
    sides = "preallocate_height_hint", "preallocate_width_hint"
    return [load | dict(zip(sides, hint or (), strict=False)) for hint in hints]


@pipeline_def(exec_dynamic=True)
def decoding(decoder):
    """Whole images, given as `encoded`: their shapes, as decoded, and their pixels."""
    image = _decode(
        fn.external_source(name="encoded", dtype=types.UINT8, ndim=1, no_copy=True), decoder
    )
    return image.shape(), image


class Decoder:
    """Whole images on the CPU, as the pipeline for the CPU decodes them.

    Args:
        batch_size: the largest number of images at a time.
        threads: decoding threads; 0 takes all cores.
    """

    def __init__(self, batch_size, threads=0):
        self._pipe = decoding(
            "cpu",
            batch_size=batch_size,
            num_threads=threads or default_workers(),
            device_id=None,
            prefetch_queue_depth=1,
        )
        self._pipe.build()

    def __call__(self, encoded):
        """A list of (H, W, 3) uint8 arrays, which live until the next call.

        Args:
            encoded: a list of (bytes,) uint8.
        Raises:
            RuntimeError: one of them, or more, cannot be decoded; the decoder is dead then.
        """
        self._pipe.feed_input("encoded", encoded)
        _, images = self._pipe.run()
        return [images.at(number) for number in range(len(encoded))]
