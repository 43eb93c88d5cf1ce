"""The loaders that `fastneg bench loader` measures: each makes two views of the same JPEGs, with as
many of MoCo v2's changes as it has.

A contender is a function (data) → epoch, where epoch(number) goes once through the images and
returns how many came out.
"""

from __future__ import annotations

import importlib.util

import torch

from fastneg.recipes.bench.loader_contenders.dali_reader import (
    dali_file_reader,
    dali_torchvision,
)
from fastneg.recipes.bench.loader_contenders.ffcv_process import ffcv
from fastneg.recipes.bench.loader_contenders.limits import copy_of_ready_tensors, decode_only
from fastneg.recipes.bench.loader_contenders.ours import (
    fastneg,
    fastneg_augment_kernel,
    fastneg_dali,
    fastneg_patch,
)
from fastneg.recipes.bench.loader_contenders.torchvision_folder import (
    lightly,
    published_patch,
    solo_learn,
    torchvision_pil,
    torchvision_v2,
)

CONTENDERS = {
    contender.__name__: contender
    for contender in (
        fastneg,
        fastneg_dali,
        fastneg_augment_kernel,
        fastneg_patch,
        torchvision_pil,
        torchvision_v2,
        published_patch,
        lightly,
        solo_learn,
        ffcv,
        dali_file_reader,
        dali_torchvision,
        decode_only,
        copy_of_ready_tensors,
    )
}
LIMITS = ("decode_only", "copy_of_ready_tensors")
"""Contenders that make no views: what bounds the others."""
BASES = {"fastneg_patch": "published_patch", "published_patch": "published_patch"}
"""What a contender is compared with, where that is not torchvision_pil."""


NEEDS = {
    "ffcv": ("ffcv", "'fastneg[ffcv]'"),
    "lightly": ("lightly", "'fastneg[bench]'"),
    "solo_learn": ("solo", "--no-deps solo-learn==1.0.2"),
}
"""{contender: (the package that it needs, what to tell pip)}"""


def missing(name):
    """Why a contender cannot run here, or None."""
    package, what = NEEDS.get(name, (None, None))
    if package is not None and importlib.util.find_spec(package) is None:
        return f"not installed: pip install {what}"
    if name == "dali_torchvision" and not torch.cuda.is_available():
        return "no GPU: DALI asks torch for a CUDA stream, for images of the CPU too"
    return None
