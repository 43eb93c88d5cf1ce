"""The data of a study: the built-in set, or the photographs that --data names."""

from __future__ import annotations

from pathlib import Path

from fastneg.config import ConfigError, EncodeConfig, UnfitError, default_workers
from fastneg.data import stencils
from fastneg.data.encode.encode import encode
from fastneg.study.plan import SETS, TRANSFER

UNBIASED_TRAIN = "train_unbiased"
"""The training set of the built-in images in which texture tells nothing of the class."""
DOMAINS = ("photo", *(name.removeprefix("pacs_") for name in TRANSFER))
PHOTOGRAPHS = {
    "tiny-imagenet-67.tar": ("train", "val"),
    "pacs-96px.tar": DOMAINS,
    "cue-conflict-96px.tar": ("",),
}
"""{archive in --data: the folders in it that are sets; "" for all of it}."""


def file_of(out, name):
    """The .beton file of a set in a study's folder."""
    return Path(out) / "data" / f"{name}.beton"


def make_data(out, size, folder):
    """Make the files that are not there; one that is there is whole.

    Args:
        out: the study's folder.
        size: `Size`.
        folder: --data, or "".
    Raises:
        ConfigError: --data is missing, holds nothing of what is needed, or has no effect.
    """
    if (size.data == "stencils") == bool(folder):
        needed = "has no effect with the built-in set" if folder else "is missing: this size trains"
        more = ": leave it out." if folder else " on photographs; see docs/how-to/study.md."
        raise ConfigError(f"--data {needed}{more}")
    (Path(out) / "data").mkdir(parents=True, exist_ok=True)
    {"stencils": _stencils, "photographs": _photographs, "imagenet100": _imagenet100}[size.data](
        out, size, folder
    )


def _stencils(out, size, folder):
    counts = {"train": size.train_images, **dict.fromkeys(SETS, size.test_images)}
    counts["swapped"] = size.swapped_images
    for name, count in counts.items():
        _make(file_of(out, name), stencils.StencilsSpec(), name, count)
    unbiased = stencils.StencilsSpec(rho=0.0)
    _make(file_of(out, UNBIASED_TRAIN), unbiased, "train", size.train_images)


def _make(path, spec, set_name, count):
    if not path.exists():
        stencils.write_beton(spec, set_name, count, path, default_workers())


def _photographs(out, size, folder):
    for archive, parts in PHOTOGRAPHS.items():
        source = Path(folder) / archive
        if not source.is_file():
            raise UnfitError(f"--data is {folder}, which holds no {archive}.")
        for part in parts:
            name = part or "cue_conflict"
            _encode(out, f"pacs_{name}" if part in DOMAINS else name, source, part or None)


def _imagenet100(out, size, folder):
    for split in ("train", "val"):
        _encode(out, split, Path(folder), split, subset="imagenet100")


def _encode(out, name, source, split, **options):
    path = file_of(out, name)
    if not path.exists():
        encode(EncodeConfig(str(source), str(path), split, **options))
