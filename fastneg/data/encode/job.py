"""The decisions of a call of `encode` before its first image, and what the .json beside a file says
about them."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fastneg.config import EncodeConfig
from fastneg.data.encode.holdout import Holdout
from fastneg.data.encode.sources import Sources
from fastneg.progress import Progress
from fastneg.version import __version__


class Job(NamedTuple):
    """What the two writers, `pass_through` and `write_with_ffcv`, need."""

    config: EncodeConfig
    outs: list[Path]
    """The files to write: one, or with a holdout two, the held-out one last."""
    sources: Sources
    order: np.ndarray
    """(N,) int64, the images in the order of the file."""
    done: dict
    """What was done so far, counted; the writers count on in it, and write it into the .json."""
    progress: Progress
    origin: dict
    """As of `origin_of`, and more."""
    holdout: Holdout | None

    @property
    def parts(self):
        """[(Path, what the .json beside it says of the other file)] of the files to write."""
        if self.holdout is None:
            return [(self.outs[0], {})]
        names = [path.name for path in self.outs]
        what = "share" if self.config.holdout < 1 else "count"
        notes = {what: self.config.holdout, "seed": self.config.seed}
        return [
            (path, {"holdout": {**notes, "part": part, "other": other}})
            for path, part, other in zip(
                self.outs, ("train", "holdout"), reversed(names), strict=True
            )
        ]

    def side(self, label, data):
        """Which of `outs` an image goes into: 0, or 1 if it is held out."""
        return int(self.holdout is not None and self.holdout.takes(label, data))


def origin_of(config):
    """Who wrote a file, with what: for the .json beside it.

    Args:
        config: EncodeConfig, or None where a program made the samples.
    """
    used = (
        "pillow",
        "numpy",
        *(["ffcv", "opencv-python"] if config is not None and config.writer == "ffcv" else []),
    )
    versions = {
        "python": platform.python_version(),
        "fastneg": __version__,
        **{name: _version(name) for name in used},
    }
    return {
        "writer": f"fastneg {__version__}",
        "versions": versions,
        "encode": None if config is None else config.as_dict(),
    }


def _version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        # imported from a place that no installer wrote, or of another package's name
        return None
