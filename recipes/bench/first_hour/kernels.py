"""Stage kernels: the kernels of negatives and views, against copies of as many bytes."""

from __future__ import annotations

from functools import partial

import torch

from fastneg.config import PretrainConfig
from fastneg.negatives.texture import texture_sizes
from fastneg.negatives.texture_torch import texture_negatives
from fastneg.recipes.bench.augment import bench_augment
from fastneg.recipes.bench.first_hour.stages import Job
from fastneg.recipes.bench.measuring import rows_beside_copy
from fastneg.recipes.bench.patch_shuffle import bench_patch_shuffle

ROUNDS = {"cpu": 2, "cuda": 20}
PATCHES = {"cpu": [(4, 1, 32)], "cuda": [(256, 1, 224), (512, 4, 224)]}
"""(N, M, H)"""
VIEWS = {"cpu": [(4, 32)], "cuda": [(256, 224), (1024, 224)]}
"""(N, H)"""
TEXTURES = {"cpu": [(2, 64)], "cuda": [(64, 224), (256, 224)]}
"""(N, H)"""


def jobs(device):
    rounds = ROUNDS[device]
    yield Job(
        "patch_shuffle",
        # Not the loop over slices: it is the host that it measures.
        partial(bench_patch_shuffle, PATCHES[device], rounds, only=("fastneg",)),
    )
    yield Job("augment", partial(bench_augment, VIEWS[device], rounds, only=("fastneg",)))
    yield Job(
        "augment torchvision",
        partial(bench_augment, VIEWS[device][:1], max(2, rounds // 5), only=("torchvision",)),
    )
    for shape in TEXTURES[device]:
        yield Job(f"texture N {shape[0]}", partial(_textures, device, shape, rounds))


def _textures(device, shape, rounds):
    """A texture for each image, quilted from two patches of it, with the settings of training."""
    count, size = shape
    options = texture_sizes(PretrainConfig(negatives="texture", image_size=size), size)
    patch = options.pop("patch")
    g = torch.Generator(device).manual_seed(0)
    patches = torch.randint(
        0, 256, (count, 2, 3, patch, patch), generator=g, device=device, dtype=torch.uint8
    )
    options["generator"] = g
    made = texture_negatives(patches, 1, (size, size), **options)
    copy = torch.empty_like(made)
    runners = {
        "fastneg": lambda: texture_negatives(patches, 1, (size, size), **options),
        "copy": lambda: copy.copy_(made),
    }
    common = {"bench": "texture", "N": count, "H": size}
    common["dtype"] = str(made.dtype).removeprefix("torch.")
    yield from rows_beside_copy(runners, rounds, device, count, common)
