"""Texture negatives: their options. The generator is in `texture_torch`."""

from __future__ import annotations

from fastneg.counts import counted
from fastneg.negatives.contract import Negative, register
from fastneg.options import ConfigError, option

SOURCES = ("image", "view", "file")


@register
class Texture(Negative):
    name = "texture"
    about = "quilted from patches"
    generate = "fastneg.negatives.texture_torch:generate"

    texture_source: str | None = option(None, choices=SOURCES)
    """The source of textures (with texture negatives). image: made at every step from two patches
    of the image, then cropped and changed as the query view is. view: made from the query view.
    file: those that the .beton pairs with its images, changed as the query view is."""
    texture_patch: int | None = option(None, at_least=2)
    """Side in pixels of the two source patches of a texture; default 3/7 of the view (96 at 224
    px)."""
    texture_block: int | None = option(None, at_least=2, at_most=64)
    """Side in pixels of the blocks of a texture; neighbours share a quarter of it; default 1/7 of
    the view (32 at 224 px), at most 64."""
    texture_candidates: int | None = option(None, at_least=1, at_most=1024)
    """Random candidates for each block of a texture; default 128."""

    def settle(self, config):
        return {"texture_source": config.texture_source or SOURCES[0]}

    def check(self, config):
        if config.texture_source == "file":
            _check_file(config)
            return
        for _, size in config.view_sizes():
            made = texture_sizes(config, size)
            block, patch = made["block"], made["patch"]
            if block > patch or (config.texture_source == "view" and patch > size):
                raise ConfigError(
                    f"textures for views of {counted(size, 'pixel')} would have blocks of "
                    f"{block} (--texture_block) from patches of {patch} (--texture_patch): a "
                    "block must fit a patch, and a patch the view."
                )

    def loader_options(self, config):
        if config.texture_source == "view":
            return {}
        return {
            "texture": config.texture_source,
            "texture_patch": lambda size: texture_sizes(config, size)["patch"],
        }

    def evaluation_changes(self, config, paired, report):
        if config.texture_source != "file" or paired:
            return {}
        report(
            "the run took textures from its .beton file, this set has none: they are quilted from "
            "its images (texture_source image)."
        )
        return {"texture_source": "image"}

    def captions(self, batch, config, generator):
        size = min(batch.query.shape[-2:])
        text = "of the file"
        if config.texture_source != "file":
            made = texture_sizes(config, size)
            text = f"blocks of {made['block']} px from {made['patch']} px"
        return [[text] * config.negatives_per_query for _ in batch.query]

    def facts(self, config):
        return {"texture_source": config.texture_source}


def texture_sizes(config, size):
    """How textures for views of `size` pixels a side are made.

    Returns:
        {"patch", "block", "overlap": pixels, "candidates": a count}.
    """
    block = config.texture_block or min(64, max(2, round(size / 7)))
    return {
        "patch": config.texture_patch or max(block, round(size * 3 / 7)),
        "block": block,
        "overlap": max(1, block // 4),
        "candidates": config.texture_candidates or 128,
    }


def _check_file(config):
    for name in ("texture_patch", "texture_block", "texture_candidates"):
        if getattr(config, name) is not None:
            raise ConfigError(
                f"--{name} is {getattr(config, name)}, which has no effect with "
                "--texture_source file: leave it out."
            )
    if config.negatives_per_query > 1:
        raise ConfigError(
            f"--negatives_per_query is {config.negatives_per_query}: a file holds one texture of "
            "each image."
        )
