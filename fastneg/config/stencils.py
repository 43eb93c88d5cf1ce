"""The built-in set of images: what decides about its pixels, and the command that writes it."""

from __future__ import annotations

from dataclasses import dataclass

from fastneg.config.base import Config
from fastneg.options import LARGEST_SEED, ConfigError, option

FAMILIES = 16
"""Shapes there are, and textures."""


@dataclass(frozen=True)
class StencilsSpec(Config):
    """Which stencils: everything that decides about the pixels beside the set and the index."""

    size: int = option(64, at_least=48, at_most=224)
    """Side in pixels of the square images."""
    shapes: int = option(12, at_least=2, at_most=FAMILIES)
    """Classes: the first so many of CLASSES, each with the texture at its position in TEXTURES as
    its own."""
    textures: int | None = option(None, at_least=2, at_most=FAMILIES)
    """Textures in use, the first so many; those beyond `shapes` are no class's own. Default: one
    for each shape."""
    rho: float = option(0.9, at_least=0.0, at_most=1.0)
    """Correlation of shape and texture in train and in_domain: with this probability an object
    wears its own texture, else one drawn from all in use (its own among them). 0: independent; 1:
    texture always names the shape."""
    seed: int = option(0, at_least=0, at_most=LARGEST_SEED)
    """Seeds every image, together with the set and the index."""

    def __post_init__(self):
        super().__post_init__()
        if self.textures is not None and self.textures < self.shapes:
            raise ConfigError(
                f"--textures is {self.textures}, below --shapes {self.shapes}: each class has a "
                "texture of its own, by which a conflict of cues is told."
            )

    def textures_used(self) -> int:
        """How many textures objects wear."""
        return self.textures or self.shapes


@dataclass(frozen=True)
class StencilsConfig(StencilsSpec):
    """Write the built-in set, in which shape and texture of every image are known."""

    out: str = ""
    """The folder to write into: OUT/<set>.beton, or OUT/<set>/<class>/*.jpg."""
    to: str = option("beton", choices=("beton", "folders"))
    """beton: a file for each set, with the fields label and texture; folders: class folders of
    JPEGs, those of the swapped set named as cue-conflict images are."""
    sets: str = option("", listed="names")
    """The sets to write, with commas between them; default: train and all test sets."""
    train: int = option(6000, at_least=1)
    """Images of the training set."""
    test: int = option(1320, at_least=1)
    """Images of each test set; a multiple of shapes × (shapes - 1) shows each pair of cues equally
    often in the swapped set."""
    workers: int = option(0, at_least=0)
    """Worker processes; 0: one a core."""

    def __post_init__(self):
        super().__post_init__()
        if not self.out:
            raise ConfigError("OUT is missing: the folder to write into.")

    def spec(self) -> StencilsSpec:
        """What decides about the pixels."""
        return StencilsSpec(self.size, self.shapes, self.textures, self.rho, self.seed)
