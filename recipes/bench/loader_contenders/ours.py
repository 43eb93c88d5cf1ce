"""fastneg's loader, as it is and with one change at a time."""

from __future__ import annotations

from fastneg.data.load.train_loader import TrainLoader
from fastneg.negatives.patch_torch import patch_negatives
from fastneg.recipes.bench.loader_contenders.common import wait
from fastneg.recipes.bench.loader_contenders.torchvision_folder import PATCH_SIZES


def fastneg(data, **options):
    """Our loader as it is by default, which on a CPU is `fastneg_augment_kernel`, on a GPU
    `fastneg_dali`."""
    return _epochs(data, lambda views: views, **options)


def fastneg_patch(data):
    """Our loader, and one patch negative of each query view."""
    return _epochs(data, lambda views: patch_negatives(views, 1, PATCH_SIZES))


def fastneg_dali(data):
    """Our loader, with DALI's operators."""
    return fastneg(data, augment_with="dali")


def fastneg_augment_kernel(data):
    """Our loader, with torchvision's own colour changes from `fastneg.kernels.augment` in place of
    DALI's."""
    return fastneg(data, augment_with="kernel")


def _epochs(data, use, **options):
    """Epochs of our loader, whose query views are given to `use`, which returns as many images."""
    options = {"threads": data.threads, "device": data.device, "augmentation": "moco_v2", **options}
    loader = TrainLoader(data.reader, data.batch_size, data.view_size, **options)

    def epoch(number):
        images = sum(len(use(batch.query)) for batch in loader.epoch(number))
        wait(data.device)
        return images

    epoch.close = loader.close
    return epoch
