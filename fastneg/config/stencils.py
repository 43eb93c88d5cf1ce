"""The settings of the built-in set: what decides its pixels, and the command that writes it."""

from __future__ import annotations

from dataclasses import dataclass

from fastneg.config.base import Config
from fastneg.options import LARGEST_SEED, ConfigError, option

FAMILIES = 16
"""Shapes there are, and textures."""


@dataclass(frozen=True)
class StencilsSpec(Config):
    """Everything that decides the pixels of the stencils, except the set and the index."""

    size: int = option(64, at_least=48, at_most=224)
    """Side in pixels of the square images."""
    shapes: int = option(12, at_least=2, at_most=FAMILIES)
    """Classes: this number of shapes from the beginning of CLASSES. The own texture of a class has
    the same position in TEXTURES."""
    textures: int | None = option(None, at_least=2, at_most=FAMILIES)
    """Textures in use: this number from the beginning of TEXTURES. Textures beyond `shapes` belong
    to no class. Default: one for each shape."""
    rho: float = option(0.9, at_least=0.0, at_most=1.0)
    """Correlation of shape and texture in train and in_domain. With this probability an object has
    its class's own texture, otherwise one drawn from all in use (including its own). 0:
    independent. 1: texture always gives the shape."""
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
    """Write the built-in set, whose images have known shapes and textures."""

    out: str = ""
    """The folder to write into: OUT/<set>.beton, or OUT/<set>/<class>/*.jpg."""
    to: str = option("beton", choices=("beton", "folders"))
    """beton: one file for each set, with the fields label and texture. folders: class folders of
    JPEGs; those of the swapped set are named like cue-conflict images."""
    sets: str = option("", listed="names")
    """The sets to write, as a comma list; default: train and all test sets."""
    train: int = option(6000, at_least=1)
    """Images of the training set."""
    test: int = option(1320, at_least=1)
    """Images of each test set. With a multiple of shapes × (shapes - 1) the swapped set has each
    pair of cues equally often."""
    workers: int = option(0, at_least=0)
    """Worker processes; 0: one per core."""

    def __post_init__(self):
        super().__post_init__()
        if not self.out:
            raise ConfigError("OUT is missing: the folder to write into.")

    def spec(self) -> StencilsSpec:
        """What decides about the pixels."""
        return StencilsSpec(self.size, self.shapes, self.textures, self.rho, self.seed)
