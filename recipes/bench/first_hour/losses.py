"""Stage info_nce: the rows of `fastneg bench info_nce` at the shapes of training."""

from __future__ import annotations

from functools import partial

from fastneg.recipes.bench.first_hour.stages import Job
from fastneg.recipes.bench.info_nce import bench_info_nce

SHAPES = {"cpu": ((32, 1024, 128),), "cuda": ((512, 65536, 128), (4096, 65536, 128))}
"""(N, K, D)"""


def jobs(device):
    rounds = 20 if device == "cuda" else 2
    for shape in SHAPES[device]:
        measure = partial(bench_info_nce, [shape], rounds, peaks=device == "cuda")
        yield Job(f"N {shape[0]}", measure)
