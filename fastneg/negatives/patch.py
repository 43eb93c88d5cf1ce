"""Patch negatives: their options. The generator is in `patch_torch`."""

from __future__ import annotations

from fastneg.negatives.contract import Negative, register
from fastneg.options import ConfigError, option

PUBLISHED = (16, 72)
"""Smallest and largest patch side for views of 224 px (Ge et al. 2021, arXiv:2110.14189)."""


@register
class Patch(Negative):
    name = "patch"
    about = "tiles of the query view"
    generate = "fastneg.negatives.patch_torch:generate"

    patch_min: int = option(PUBLISHED[0], at_least=1)
    """Smallest patch side in pixels of a patch negative."""
    patch_max: int = option(PUBLISHED[1], at_least=1)
    """Largest patch side in pixels of a patch negative."""

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
        scaled = [max(1, round(config.image_size * side / 224)) for side in PUBLISHED]
        return dict(zip(("patch_min", "patch_max"), scaled, strict=True))

    def facts(self, config):
        return {"patch_sizes": [config.patch_min, config.patch_max]}
