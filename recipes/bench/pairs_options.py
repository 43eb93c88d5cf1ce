"""The options of `fastneg bench pairs`.

Legend: N pairs, D feature dimension.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastneg.config import Config
from fastneg.recipes.bench.info_nce_options import numbers
from fastneg.recipes.bench.registry import bench_option


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
