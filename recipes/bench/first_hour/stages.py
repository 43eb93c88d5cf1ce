"""The stages of the first hour, the most useful first. Nothing here imports torch.

The module of a stage has jobs(device), which yields `Job`s. A job's rows are appended as they come;
a job that has ended is not repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

HERE = "fastneg.recipes.bench.first_hour"


@dataclass(frozen=True)
class Stage:
    """One stage, of which nothing is imported yet."""

    jobs: str
    """module:function that yields its jobs."""
    limit_s: float
    """Seconds after which its process is ended, on a GPU and in a rehearsal."""
    about: str
    """What it measures, for the page."""


@dataclass(frozen=True)
class Job:
    """One thing to measure."""

    name: str
    measure: Callable[[], Iterator[dict]]
    """Yields rows of figures. It raises `Missing` where it cannot run here."""
    goes_on: bool = False
    """Whether a second try measures only what the first did not; else its rows take the place of
    those of the first."""


class Missing(Exception):
    """Why a job cannot run on this machine: something is not installed, or there is no GPU."""


STAGES = {
    "ceilings": Stage(
        f"{HERE}.ceilings:jobs",
        90,
        "What the machine itself reaches: a copy, one large matrix product, a launch.",
    ),
    "kernel_tests": Stage(
        f"{HERE}.kernel_tests:jobs", 300, "The tests that need a GPU, by pytest."
    ),
    "info_nce": Stage(
        f"{HERE}.losses:jobs", 180, "The loss beside every other way to it that is installed."
    ),
    "kernels": Stage(
        f"{HERE}.kernels:jobs", 120, "The kernels of patches, textures and augmentation."
    ),
    "step": Stage(
        f"{HERE}.steps:jobs", 240, "A training step on a ready batch, one feature off at a time."
    ),
    "loader": Stage(f"{HERE}.loader:jobs", 300, "Two views of each image through DALI."),
    "road": Stage(
        f"{HERE}.road:jobs", 300, "The real command: .beton, DALI, training, a few dozen steps."
    ),
    "compile_graphs": Stage(
        f"{HERE}.steps:compiled_jobs", 420, "The training step compiled and as CUDA graphs."
    ),
}
