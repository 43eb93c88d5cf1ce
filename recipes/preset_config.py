"""A preset with some settings replaced, as a command line or a call asks."""

from __future__ import annotations

import dataclasses
import numbers
from typing import Any

from fastneg import plugins
from fastneg.config import ConfigError, PretrainConfig
from fastneg.config.method import RESNET
from fastneg.options import nearest
from fastneg.recipes.presets import PRESETS

LENGTHS = ("eval_resize", "patch_min", "patch_max", "texture_patch", "texture_block")
"""Settings in pixels of the view: those of a preset are scaled with it where --image_size is
given, and --image_size_schedule too."""
LEAST = 16
"""The smallest side that views may have."""


def preset_config(preset: str, **overrides: Any) -> PretrainConfig:
    """The settings of a preset with others in the place of some.

    Lengths that a preset gives follow the size of the views, unless they are given.

    Raises:
        ConfigError: there is no such preset, a setting cannot be or would have no effect, or data
            or out is missing.
    """
    config = of_preset(preset, **overrides)
    for name, meaning in (
        ("data", "the .beton file to train on"),
        ("out", "the folder of the run"),
    ):
        if not getattr(config, name):
            raise ConfigError(f"--{name} is missing: {meaning}.")
    return config


def of_preset(preset: str, **overrides: Any) -> PretrainConfig:
    """As `preset_config`, also without data and out."""
    if preset not in PRESETS:
        raise ConfigError(
            f"--preset is {preset!r}: there is no such preset{nearest(preset, PRESETS)} fastneg "
            "presets lists them."
        )
    base = PRESETS[preset]()
    more = _lengths(base, overrides.get("image_size"))
    if not _has_stem(overrides.get("backbone", base.backbone)):
        more["stem"] = "auto"  # a small one is of the preset's own network
    return changed(base, overrides, more)


def changed(base, overrides, more=()):
    """A config with other values.

    Args:
        more: values where `overrides` has none, which may be without effect.
    Raises:
        ConfigError: one of the overrides is not known, cannot be, or has no effect.
    """
    if overrides.keys() - _fields():
        plugins.load()  # it may be an option of theirs
    if unknown := sorted(overrides.keys() - _fields()):
        raise ConfigError(f"There is no setting {unknown[0]!r}{nearest(unknown[0], _fields())}")
    config = base.replace(**{**dict(more), **overrides})
    for name in sorted(overrides.keys() & config.without_effect()):
        raise ConfigError(
            f"--{name} is {overrides[name]!r}, which has no effect with --negatives "
            f"{config.negatives}: leave it out."
        )
    return config


def _has_stem(backbone):
    """Whether a backbone's first layers may be a small stem, by its name."""
    return not isinstance(backbone, str) or bool(RESNET.match(backbone)) or "densenet" in backbone


def _fields():
    return {field.name for field in dataclasses.fields(PretrainConfig)}


def _lengths(base, image_size):
    """The lengths that a preset gives, for views of another size."""
    if isinstance(image_size, bool) or not isinstance(image_size, numbers.Real):
        return {}  # none is given, or what will be refused
    share = image_size / base.image_size
    given = {name: getattr(base, name) for name in LENGTHS}
    scaled = {name: max(1, round(share * side)) for name, side in given.items() if side}
    if base.image_size_schedule is not None:
        sizes = [(epoch, max(LEAST, round(share * side))) for epoch, side in base.view_sizes()]
        scaled["image_size_schedule"] = ",".join(f"{epoch}:{side}" for epoch, side in sizes)
    return scaled
