"""fastneg bench textures: quilting against simpler ways to remove the shape of an image: time, what
is kept, what is lost.

Legend: N images, H W pixels.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import torch

from fastneg.config import PretrainConfig
from fastneg.data import stencils
from fastneg.negatives.patch_torch import patch_negatives
from fastneg.negatives.texture import texture_sizes
from fastneg.negatives.texture_torch import texture_negatives, view_sources
from fastneg.recipes.bench.measuring import bench_device
from fastneg.recipes.bench.texture_quality import (
    accuracy,
    colour_distance,
    patch_distance,
    spectrum_distance,
    train_probe,
)

SCENES = ("astronaut", "chelsea", "coffee", "rocket")
SURFACES = ("brick", "grass", "gravel", "hubble_deep_field")
SIDE = 224  # of the photographs
STENCIL_SIDE = 64


def bench_textures(train=2400, test=480, epochs=10, rounds=5, batch_size=16, stencil_count=16):
    """Yield a row per set of images and contender.

    ms_per_image is the median time of a batch of photographs on a GPU, cpu_ms_per_image the
    processor time of one thread on a CPU; the distances are means over images, those of `original`
    between the image and itself; shape and texture accuracy are those of probes trained on
    originals, in which shape and texture are independent.
    """
    device = bench_device()
    for name, images in (
        ("photographs", photographs()),
        ("stencils", _stencils("decorrelated", stencil_count)[0]),
    ):
        for contender, make in CONTENDERS.items():
            made = make(images, _generator())
            row = {
                "bench": "textures",
                "contender": contender,
                "device": device,
                "set": name,
                "N": len(images),
                "H": images.shape[2],
            }
            if name == "photographs" and contender != "original":
                row["ms_per_image" if device == "cuda" else "cpu_ms_per_image"] = _time(
                    make, images.to(device), rounds, batch_size
                )
            yield row | distances(images, made)
    yield from _probes(train, test, epochs)


def photographs():
    """(10, 3, 224, 224) uint8, the photographs that scikit-image and scikit-learn ship, their
    central square scaled down."""
    from PIL import Image
    from skimage import data
    from sklearn.datasets import load_sample_image

    pixels = [getattr(data, name)() for name in (*SCENES, *SURFACES)] + [
        load_sample_image(f"{name}.jpg") for name in ("china", "flower")
    ]
    images = [Image.fromarray(each).convert("RGB") for each in pixels]
    squares = []
    for image in images:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        squares.append(
            image.resize((SIDE, SIDE), Image.Resampling.BOX, (left, top, left + side, top + side))
        )
    return (
        torch.from_numpy(np.stack([np.asarray(square) for square in squares]))
        .permute(0, 3, 1, 2)
        .contiguous()
    )


def distances(images, made, generator=None):
    """Means over images: colour_distance, spectrum_db, patch_to_image and image_to_patch (levels of
    255)."""
    pairs, generator = list(zip(images, made, strict=True)), generator or _generator()
    mean = lambda measure: statistics.fmean(measure(image, texture) for image, texture in pairs)
    return {
        "colour_distance": mean(colour_distance),
        "spectrum_db": mean(spectrum_distance),
        "texture_to_image": mean(
            lambda image, texture: patch_distance(texture, image, generator=generator)
        ),
        "image_to_texture": mean(
            lambda image, texture: patch_distance(image, texture, generator=generator)
        ),
    }


def _stencils(set_name, count, **spec):
    """Images (N, 3, H, W) uint8, labels and textures (N,) of the built-in set."""
    spec = stencils.StencilsSpec(size=STENCIL_SIDE, rho=0.0, **spec)
    pixels, labels, textures = zip(
        *(stencils.render(spec, set_name, index) for index in range(count)), strict=True
    )
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()
    return images, torch.tensor(labels), torch.tensor(textures)


def _probes(train, test, epochs):
    seen, shown = _stencils("train", train), _stencils("decorrelated", test)
    classes = stencils.StencilsSpec().shapes
    probes = {
        name: train_probe(seen[0], seen[place], classes, epochs=epochs)
        for name, place in (("shape", 1), ("texture", 2))
    }
    for contender, make in CONTENDERS.items():
        made = make(shown[0], _generator())
        found = {
            f"{name}_acc": accuracy(probes[name], made, shown[place])
            for name, place in (("shape", 1), ("texture", 2))
        }
        row = {
            "bench": "textures",
            "contender": contender,
            "device": "cpu",
            "set": "probes",
            "N": test,
            "H": STENCIL_SIDE,
        }
        yield row | {"train_images": train, "epochs": epochs, "chance": 100 / classes} | found


def _time(make, images, rounds, batch_size):
    """Milliseconds an image of a batch: of the GPU's wall clock, or of the processor in one thread,
    which other programs do not change."""
    batch = images.repeat(-(-batch_size // len(images)), 1, 1, 1)[:batch_size]
    generator, threads, times = torch.Generator(images.device), torch.get_num_threads(), []
    clock = time.perf_counter if images.is_cuda else time.process_time
    torch.set_num_threads(1)
    try:
        for _ in range(rounds + 1):  # the first warms up
            began = clock()
            make(batch, generator)
            if images.is_cuda:
                torch.cuda.synchronize()
            times.append(1000 * (clock() - began) / batch_size)
    finally:
        torch.set_num_threads(threads)
    return statistics.median(times[1:])


def _generator():
    return torch.Generator().manual_seed(0)


# --- the contenders: (N, 3, H, H) uint8 and a generator → as many ---------------------------------


def _quilting(images, generator, **options):
    settings = texture_sizes(PretrainConfig(negatives="texture"), images.shape[2]) | options
    sources = view_sources(images, settings.pop("patch"), generator)
    return texture_negatives(sources, 1, images.shape[2:], generator=generator, **settings)[:, 0]


def tiling(images, generator=None):
    """The central source patch, repeated."""
    side, patch = (
        images.shape[2],
        texture_sizes(PretrainConfig(negatives="texture"), images.shape[2])["patch"],
    )
    start, place = (side - patch) // 2, torch.arange(side, device=images.device) % patch
    return images[:, :, start + place][:, :, :, start + place]


def random_phase(images, generator):
    """Noise with the image's spectrum: one random phase for all channels, which keeps how they go
    together (Galerne et al. 2011)."""
    values = images.float()
    noise = torch.randn(
        (len(images), 1, *images.shape[2:]), generator=generator, device=images.device
    )
    phase = torch.fft.rfft2(noise)
    phase = phase / phase.abs().clamp_min(1e-12)
    mean = values.mean((2, 3), keepdim=True)
    return (
        (torch.fft.irfft2(torch.fft.rfft2(values - mean) * phase, s=images.shape[2:]) + mean)
        .round()
        .clamp(0, 255)
        .byte()
    )


CONTENDERS = {
    "original": lambda images, generator: images,
    "quilting": _quilting,
    "quilting_no_seam": lambda images, generator: _quilting(images, generator, seam=False),
    "quilting_1_candidate": lambda images, generator: _quilting(images, generator, candidates=1),
    "tiling": tiling,
    "patch_shuffle": lambda images, generator: patch_negatives(
        images, 1, (images.shape[2] // 14, images.shape[2] // 3), generator
    )[:, 0],
    "random_phase": random_phase,
}
