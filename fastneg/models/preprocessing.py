"""The preprocessing of images that imported weights need: size, resize, normalisation."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace

from fastneg.config import (
    IMAGENET,
    INTERPOLATIONS,
    ConfigError,
    Normalisation,
    PretrainConfig,
    flag_text,
)
from fastneg.models.backbones import timm_settings
from fastneg.models.torch_files import is_safetensors

FIELDS = ("image_size", "eval_resize", "eval_interpolation", "mean", "std")


@dataclass(frozen=True)
class Preprocessing:
    """Values of the fields of `PretrainConfig` that say how images are made, and their origin."""

    mean: tuple
    std: tuple
    image_size: int = 224
    eval_resize: int | None = None
    eval_interpolation: str = "bilinear"
    origin: str = "ImageNet's, as torchvision's weights take it"
    """Where the normalisation stands, in words."""
    notes: tuple = ()
    """What the network asks for and this program does not do, in sentences."""

    @property
    def normalisation(self):
        return Normalisation(self.mean, self.std)

    def settings(self):
        """The fields of `PretrainConfig`."""
        return {name: getattr(self, name) for name in FIELDS}


def preprocessing_for(backbone, weights, own=None, **given):
    """What a network was trained with, as far as it is known: given by hand, else what the file
    says, else what timm says of the network, else ImageNet's.

    Args:
        backbone: its name.
        weights: path of the file of its weights.
        own: PretrainConfig of the run that the weights are of, where they are of one of ours.
        given: values of FIELDS; None: not given.
    Returns:
        Preprocessing.
    """
    found = _known(backbone, weights, own, given.get("image_size")) or Preprocessing(*IMAGENET)
    given = {name: value for name, value in given.items() if value is not None}
    if given.get("image_size", found.image_size) != found.image_size:
        found = replace(found, eval_resize=None)  # that of the file was for its own size
    if "mean" in given:
        given["origin"] = "given by --mean and --std"
    return replace(found, **given)


def _known(backbone, weights, own, image_size):
    """As `preprocessing_for`, without what is given by hand; None where nothing is known."""
    found = of_config(own) if own else of_file(weights)
    return found or of_network(backbone, image_size)


def config_of_file(path):
    """The settings that a file of `fastneg export --format safetensors` holds; None for any other
    file."""
    if not is_safetensors(path):
        return None
    with open(path, "rb") as file:
        header = file.read(int.from_bytes(file.read(8), "little"))
    try:
        return PretrainConfig.read(json.loads(json.loads(header)["__metadata__"]["config"]))
    except (KeyError, TypeError, ValueError):
        return None  # of another program, or of a version that knows other settings


def of_config(config):
    """What a run of ours was trained with."""
    return Preprocessing(**{name: getattr(config, name) for name in FIELDS}, origin="of the file")


def of_file(path):
    """What a file of `fastneg export --format safetensors` tells; None for any other file."""
    config = config_of_file(path)
    return None if config is None else of_config(config)


def of_network(backbone, image_size=None):
    """What timm says of a network (its pretrained_cfg); None for networks of others.

    Args:
        image_size: side of the images in pixels; None: that of timm's settings.
    Raises:
        ConfigError: timm's images of it are not square.
    """
    settings = timm_settings(backbone)
    if settings is None:
        return None
    *_, height, width = settings.input_size
    if image_size is None and height != width:
        raise ConfigError(
            f"{backbone} is made for images of {width}×{height} pixels, but only square images are "
            "supported: give --image_size."
        )
    size, interpolation, notes = image_size or width, settings.interpolation, []
    tag = f".{settings.tag}" if settings.tag else ""
    if interpolation not in INTERPOLATIONS:
        notes.append(f"It asks for {interpolation} interpolation; bicubic is used instead.")
        interpolation = "bicubic"
    if settings.crop_mode != "center":
        notes.append(
            f"It asks for the crop mode {settings.crop_mode}; the central crop is used instead, "
            "which differs for images that are not square."
        )
    return Preprocessing(
        tuple(settings.mean),
        tuple(settings.std),
        size,
        max(size, math.floor(size / settings.crop_pct)),
        interpolation,
        f"timm's for {settings.architecture}{tag}",
        tuple(notes),
    )


def told(found):
    """How images are made, in lines for a person."""
    resize = found.eval_resize or f"{found.image_size} × 256/224"
    return [
        f"Images: the shorter side resized to {resize} ({found.eval_interpolation}), the central "
        f"{found.image_size} px cut out;",
        f"  normalised with {found.normalisation}: {found.origin}. Weights trained with others "
        "need --mean and --std.",
        *(f"  {note}" for note in found.notes),
    ]


def told_of_init(config, own=None):
    """What to say, in lines, where the weights of --init are used to another normalisation.

    Args:
        own: PretrainConfig of the run that they are of, where they are of one of ours.
    """
    found = _known(config.backbone, config.init, own, config.image_size)
    if found is None or found.normalisation.near(config.normalisation()):
        return []
    fields = Normalisation._fields
    flags = " ".join(f"--{name} {flag_text(getattr(found, name))}" for name in fields)
    return [
        f"  normalisation: this run's is {config.normalisation()}, but the weights were probably "
        f"trained with {found.normalisation} ({found.origin}): give {flags} to use that"
    ]
