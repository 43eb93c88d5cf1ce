"""Patch negatives: their options. The generator is in `patch_torch`."""

from __future__ import annotations

from fastneg.negatives.contract import Negative, register
from fastneg.options import ConfigError, option
from fastneg.registry import imported

PUBLISHED = (16, 72)
"""Smallest and largest patch side for views of 224 px (Ge et al. 2021, arXiv:2110.14189)."""


@register
class Patch(Negative):
    name = "patch"
    about = "tiles of the query view"
    generate = "fastneg.negatives.patch_torch:generate"

    patch_min: int = option(0, at_least=0)
    """Smallest patch side in pixels of a patch negative, in all views of --image_size_schedule; 0:
    1/14 of --image_size, 16 at 224 px."""
    patch_max: int = option(0, at_least=0)
    """Largest patch side in pixels of a patch negative, likewise; 0: 9/28 of --image_size, 72 at
    224 px. If the smallest views have fewer pixels, both are fractions of these."""

    def defaults(self, config):
        """Those of 0 in proportion to the views, or to the smallest ones where they would not
        fit."""
        given = {"patch_min": config.patch_min, "patch_max": config.patch_max}
        smallest = min(size for _, size in config.view_sizes())
        fits = scaled_sizes(config.image_size)["patch_max"] <= smallest
        scaled = scaled_sizes(config.image_size if fits else smallest)
        return {name: side or scaled[name] for name, side in given.items()}

    def check_options(self, config):
        if config.patch_min > config.patch_max:
            raise ConfigError(
                f"--patch_min is {config.patch_min}, above --patch_max {config.patch_max}."
            )

    def check(self, config):
        smallest = min(size for _, size in config.view_sizes())
        if config.patch_max <= smallest:
            return
        where = (
            f"--image_size {smallest}"
            if config.image_size_schedule is None
            else f"the {smallest} of --image_size_schedule"
        )
        raise ConfigError(
            f"--patch_max is {config.patch_max}: a patch cannot be larger than {where}."
        )

    def evaluation_changes(self, config, paired, report):
        # Only a run that made no patches has sizes that do not fit: it gets the published ones,
        # scaled to its views.
        if config.patch_max <= config.image_size:
            return {}
        return scaled_sizes(config.image_size)

    def captions(self, batch, config, generator):
        return imported("fastneg.negatives.patch_torch:captions")(batch, config, generator)

    def facts(self, config):
        return {"patch_sizes": [config.patch_min, config.patch_max]}


def scaled_sizes(side):
    """{"patch_min", "patch_max"}: the published sizes for views of `side` pixels."""
    sizes = [max(1, round(side * each / 224)) for each in PUBLISHED]
    return dict(zip(("patch_min", "patch_max"), sizes, strict=True))
