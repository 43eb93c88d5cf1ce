"""The options of `fastneg bench info_nce` (shapes, and tile sizes to try) and of `fastneg bench
pairs`.

Legend: N batch or pairs, K shared negatives, D feature dimension.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastneg.config import Config, ConfigError
from fastneg.recipes.bench.registry import bench_option

SWEEP = (
    "128x64x8x3x128x2", "128x64x8x2x128x2", "128x64x8x3x0x1", "128x64x8x4x0x1",
    "128x128x8x2x0x1", "128x128x8x3x0x1", "128x32x8x4x128x2", "64x64x4x3x168x3",
    "64x64x4x3x128x4", "64x64x4x4x0x2", "64x128x4x2x0x2", "64x32x4x4x128x4",
)  # fmt: skip
"""Tile sizes that compile for sm_90 at D 128; which is fastest only a GPU can tell."""


@dataclass(frozen=True)
class InfoNCEOptions(Config):
    """What is measured of the loss."""

    shapes: str | None = bench_option("info_nce", None)
    """Sizes N x K x D of the loss to measure, such as 512x65536x128,4096x65536x128; default: some
    of each, by device."""
    tiles: str | None = bench_option("info_nce", None)
    """Further tile sizes of the loss's kernel to measure, on a GPU. sweep: a list of them. Or rows
    x keys x warps x stages x registers x resident programs, such as 128x64x8x3x128x2 (registers 0:
    no limit), as a comma list."""

    def __post_init__(self):
        super().__post_init__()
        for parse, text in ((parse_shapes, self.shapes), (parse_tiles_text, self.tiles)):
            if text is not None:
                parse(text)


def parse_shapes(text):
    """((N, K, D), …) of "512x65536x128,…"; ConfigError if it is none."""
    return numbers("shapes", text, "512x65536x128")


def parse_tiles_text(text):
    """((rows, keys, warps, stages, registers, resident), …) of "sweep" or "128x64x8x3x128x2,…"."""
    text = ",".join(SWEEP) if text == "sweep" else text
    return numbers("tiles", text, "128x64x8x3x128x2")


def parse_tiles(text):
    """The `Tiles` of a text as in `InfoNCEOptions`; () of None."""
    if text is None:
        return ()
    from fastneg.kernels.info_nce_tiles import Tiles

    return tuple(
        Tiles(*sizes[:4], registers or None, resident)
        for *sizes, registers, resident in parse_tiles_text(text)
    )


def numbers(flag, text, example):
    """Tuples of whole numbers of a text, as many each as in the example; ConfigError if it holds
    others."""
    count, found = example.count("x") + 1, [part.split("x") for part in text.split(",")]
    if any(len(part) != count or not all(map(str.isdecimal, part)) for part in found):
        raise ConfigError(
            f"--{flag} is {text}: {count} whole numbers with x between them, as {example}, were "
            "expected; several of them with commas."
        )
    return tuple(tuple(map(int, part)) for part in found)


@dataclass(frozen=True)
class PairsOptions(Config):
    """What is measured of the losses of pairs."""

    pairs: str | None = bench_option("pairs", None)
    """Number of pairs and feature dimension of the losses of pairs to measure, such as
    4096x512,65536x768; default: some of each, by device."""

    def __post_init__(self):
        super().__post_init__()
        if self.pairs is not None:
            parse_pairs(self.pairs)


def parse_pairs(text):
    """((N, D), …) of "4096x512,…"; ConfigError if it is none."""
    return numbers("pairs", text, "4096x512")
