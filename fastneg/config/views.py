"""Settings of pre-training: the views in training, and the images in evaluation."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from fastneg.config.augmentation import Augmentation, augmentation_of, read_augmentation
from fastneg.config.base import Config
from fastneg.config.normalisation import IMAGENET, INTERPOLATIONS, Normalisation, three_numbers
from fastneg.negatives import NEGATIVES
from fastneg.options import ConfigError, option


def augmenter(augment_with: str, device: str, cached: bool = False) -> str:
    """What --augment_with auto stands for on a device ("cpu" or "cuda"), dali or kernel; what is
    given otherwise.

    Args:
        cached: whether the images lie on the device, of which DALI makes no view.
    """
    if augment_with != "auto":
        return augment_with
    # On two cores the kernel takes 0.6 to 0.95 of the processor time of DALI's operators, for every
    # recipe; on a GPU the two were not yet measured side by side.
    return "kernel" if cached or device == "cpu" else "dali"


@dataclass(frozen=True)
class ViewsPart(Config):
    image_size: int = option(224, at_least=16)
    """Side in pixels of each view."""
    image_size_schedule: str | None = option(None, listed="names")
    """Other sides of the views by epoch: EPOCH:SIZE[,EPOCH:SIZE…], beginning with epoch 0, such as
    0:128,100:224. Evaluation uses --image_size."""
    crop_min: float = option(0.2, above=0.0, at_most=1.0)
    """Smallest fraction of the image's area that a random crop takes."""
    crop_max: float = option(1.0, above=0.0, at_most=1.0)
    """Largest fraction of the image's area that a random crop takes."""
    views: str | tuple[dict, ...] = "moco_v2"
    """The recipe of random changes that makes each view: moco_v1, moco_v2, simclr,
    simclr_small, colour_invariant, crop_flip, or a file NAME.json that lists operations, whose
    contents the run keeps."""
    augment_with: str = option("auto", choices=("auto", "dali", "kernel"))
    """What changes colours, blurs and flips after DALI's decoding and crop. dali: DALI's operators,
    whose contrast and hue differ a little from torchvision's. kernel: fastneg's kernel with
    torchvision's definitions. auto: kernel on a CPU, where it is faster, and with --cache device,
    otherwise dali. A run keeps the choice it began with."""
    eval_resize: int | None = option(None, at_least=16)
    """Side in pixels to which the shorter side is resized for evaluation, before the central crop;
    default image_size × 256/224."""
    eval_interpolation: str = option("bilinear", choices=INTERPOLATIONS)
    """Interpolation of the resize in evaluation and of the probe's crops; both are antialiased."""
    mean: float | str | tuple[float, ...] = IMAGENET.mean
    """Mean of red, green and blue, for pixels in 0 to 1, which is subtracted wherever the network
    sees images: ImageNet's, or three numbers such as 0.5,0.5,0.5 as other weights were trained
    with."""
    std: float | str | tuple[float, ...] = IMAGENET.std
    """Standard deviation of red, green and blue, by which they are divided; three numbers."""

    def recipe(self) -> Augmentation:
        """The `Augmentation` that makes each view."""
        return augmentation_of(self.views)

    def normalisation(self) -> Normalisation:
        """The `Normalisation` of all that the network sees."""
        return Normalisation(self.mean, self.std)

    def evaluation_options(self) -> dict[str, Any]:
        """How evaluation makes the network's images, as `CropLoader` and `EvalLoader` take it."""
        return {
            "normalisation": self.normalisation(),
            "interpolation": self.eval_interpolation,
            "max_bad_share": self.max_bad_share,
        }

    def view_options(self) -> dict[str, Any]:
        """How views are made, as `TrainLoader` takes it."""
        return {
            "normalisation": self.normalisation(),
            "augmentation": self.recipe(),
            "augment_with": self.augment_with,
            "crop_area": (self.crop_min, self.crop_max),
            **self.negative_options(),
        }

    def negative_options(self) -> dict[str, Any]:
        """What the kinds of negatives ask of the views, as `TrainLoader` takes it."""
        options = {}
        for kind in self.negative_kinds():
            options |= NEGATIVES[kind].loader_options(self)
        return options

    def view_sizes(self) -> list[tuple[int, int]]:
        """[(epoch, side of the views in pixels from that epoch on)], the first from epoch 0 on."""
        if self.image_size_schedule is None:
            return [(0, self.image_size)]
        wrong = (
            f"--image_size_schedule is {self.image_size_schedule!r}: "
            "EPOCH:SIZE[,EPOCH:SIZE…] was expected"
        )
        try:
            sizes = [
                tuple(map(int, entry.split(":"))) for entry in self.image_size_schedule.split(",")
            ]
            epochs = [epoch for epoch, _ in sizes]
        except ValueError:
            raise ConfigError(f"{wrong}, such as 0:128,100:224.") from None
        if epochs[0] != 0 or epochs != sorted(set(epochs)):
            raise ConfigError(f"{wrong}, the first epoch 0 and each later than the one before.")
        if min(size for _, size in sizes) < 16:
            raise ConfigError(f"{wrong}, each size at least 16.")
        return sizes

    def view_size(self, epoch: int) -> int:
        """Side of the views in pixels in an epoch."""
        return next(size for start, size in reversed(self.view_sizes()) if start <= epoch)

    def _check(self):
        for name in Normalisation._fields:
            object.__setattr__(self, name, three_numbers(name, getattr(self, name)))
        self.view_sizes()
        if self.eval_resize is not None and self.eval_resize < self.image_size:
            raise ConfigError(
                f"--eval_resize is {self.eval_resize}, below --image_size {self.image_size}: the "
                "central crop would not fit."
            )
        self._check_recipe()
        if self.crop_min > self.crop_max:
            raise ConfigError(f"--crop_min is {self.crop_min}, above --crop_max {self.crop_max}.")

    def _check_recipe(self):
        if isinstance(self.views, str) and (
            self.views.endswith(".json") or os.path.exists(self.views)
        ):
            object.__setattr__(self, "views", read_augmentation(self.views))
        if self.recipe().area is not None:
            raise ConfigError(
                f"The crop of --views has the area {list(self.recipe().area)}: leave it "
                "out, and give --crop_min and --crop_max."
            )
