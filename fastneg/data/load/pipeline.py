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

from nvidia.dali import fn, math, pipeline_def, types

from fastneg.config import IMAGENET, default_workers
from fastneg.data.errors import BetonError
from fastneg.data.images import decoded_size
from fastneg.data.load.decoder_hints import decoder_options
from fastneg.data.load.fed import FedPipeline

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


@pipeline_def(exec_dynamic=True)
def _decoding(decoder):
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
        self._pipe = _decoding(
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


def what_is_wrong(encoded, size, device):
    """Why an image, alone, cannot be decoded as the pipeline decodes it; None if it can.

    Args:
        encoded: (bytes,) uint8.
        size: (height, width) that it should have.
        device: as of `build_pipeline`.
    """
    cuda = device.type == "cuda"
    pipe = _decoding(
        "mixed" if cuda else "cpu",
        batch_size=1,
        num_threads=1,
        device_id=device.index if cuda else None,
        prefetch_queue_depth=1,
    )
    pipe.build()
    try:
        pipe.feed_input("encoded", [encoded])
        shape, _ = pipe.run()
    except RuntimeError:  # DALI says only that it failed; Pillow mostly knows why
        try:
            decoded_size(encoded.tobytes())
        except BetonError as error:
            return f"it cannot be decoded ({error})"
        return "DALI cannot decode it, though Pillow can"
    return wrong_size(shape.at(0), size)


def wrong_size(shape, size):
    """What to say of an image that is decoded to another size than the file says; None if it is
    not."""
    found, expected = [int(side) for side in shape[:2]], [int(side) for side in size]
    return (
        None
        if found == expected
        else f"it decodes to {found[1]}×{found[0]} pixels, the file says "
        f"{expected[1]}×{expected[0]}"
    )
