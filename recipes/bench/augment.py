"""fastneg bench augment: the augmentation against torchvision's functions, on the same images with
the same parameters.

Legend: N batch, H pixels a side.
"""

from __future__ import annotations

import importlib.util
import math
from functools import partial

import torch

from fastneg.data.load.augmentation import IMAGENET_MEAN, IMAGENET_STD
from fastneg.kernels.augment import augment, draw_augment_params
from fastneg.recipes.bench.measuring import bench_device, rows_beside_copy

SHAPES = {"cpu": ((64, 64), (64, 224)), "cuda": ((256, 224), (1024, 224))}
MOCO_V2 = {
    "brightness": 0.4,
    "contrast": 0.4,
    "saturation": 0.4,
    "hue": 0.1,
    "jitter_p": 0.8,
    "gray_p": 0.2,
    "blur_p": 0.5,
}


def bench_augment(shapes=None, rounds=7, only=None):
    """Yield a row for each shape and contender.

    A contender takes uint8 channels_last images (N, 3, H, H). It applies MoCo v2's colour changes,
    blur and flip, and normalises. kornia's (where it is installed) draws its own numbers, of the
    same distributions. share_of_floor compares its time with that of a copy which reads
    the images as uint8 and writes them in the dtype of the result.

    Args:
        shapes: of (N, H); None: those of this device.
        rounds: calls measured of each contender.
        only: names of contenders, beside copy; None: all.
    """
    device = bench_device()
    dtype = torch.float16 if device == "cuda" else torch.float32
    for count, size in shapes or SHAPES[device]:
        g = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (count, 3, size, size), generator=g, dtype=torch.uint8).to(
            device, memory_format=torch.channels_last
        )
        params = draw_augment_params(count, generator=g, **MOCO_V2)
        host, params = [tensor.tolist() for tensor in params], params.to(device)
        out = torch.empty_like(images, dtype=dtype)
        runners = {
            "fastneg": lambda images=images, params=params: augment(
                images, params, mean=IMAGENET_MEAN, std=IMAGENET_STD, dtype=dtype
            ),
            "torchvision": lambda images=images, host=host: _torchvision(images, host, dtype),
            "copy": lambda images=images, out=out: out.copy_(images),
        }
        if importlib.util.find_spec("kornia") is not None:
            runners["kornia"] = partial(kornia_views(dtype), images)
        common = {"bench": "augment", "device": device, "N": count, "H": size}
        common["dtype"] = str(dtype).removeprefix("torch.")
        yield from rows_beside_copy(runners, rounds, device, count, common, only)


def kornia_views(dtype):
    """A function of uint8 images (N, 3, H, H) that gives them as kornia's batch-wise augmentations
    change them, with numbers of its own for each image."""
    import kornia.augmentation as K

    change = K.AugmentationSequential(
        K.ColorJitter(0.4, 0.4, 0.4, 0.1, p=MOCO_V2["jitter_p"]),
        K.RandomGrayscale(p=MOCO_V2["gray_p"]),
        K.RandomGaussianBlur((13, 13), (0.1, 2.0), p=MOCO_V2["blur_p"]),
        K.RandomHorizontalFlip(p=0.5),
        K.Normalize(torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)),
    )
    return lambda images: change(images.float().div_(255)).to(dtype)


def _torchvision(images, host, dtype):
    """Image by image on the device, the functions that torchvision's transforms call, without
    drawing."""
    import torchvision.transforms.v2.functional as TF

    operations = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue)
    results = []
    for image, order, factors, gray, sigma, flip in zip(images, *host, strict=True):
        image = TF.to_dtype(image, torch.float32, scale=True)
        if factors != [1.0, 1.0, 1.0, 0.0]:
            for number in order:
                image = operations[number](image, factors[number])
        if gray:
            image = TF.rgb_to_grayscale(image, 3)
        if sigma > 0:
            image = TF.gaussian_blur(image, 2 * math.ceil(3 * sigma) + 1, sigma)
        if flip:
            image = TF.horizontal_flip(image)
        results.append(TF.normalize(image, list(IMAGENET_MEAN), list(IMAGENET_STD)).to(dtype))
    return torch.stack(results)
