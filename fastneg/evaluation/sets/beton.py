"""Test sets as .beton files: one, several by a glob, or URLs."""

from __future__ import annotations

from pathlib import Path

from fastneg.config import UnfitError
from fastneg.data.beton.shards import open_data
from fastneg.data.remote import is_remote
from fastneg.evaluation.sets.labelled import LabelledKind


class BetonFiles(LabelledKind):
    """PATH.beton, or several."""

    def holds(self, path):
        return not Path(path).is_dir()

    def open(self, path, run, **options):
        if is_remote(path):
            return open_data(path, cache_dir=options.get("cache_dir", ""))
        if not any(mark in str(path) for mark in "*?[") and not Path(path).exists():
            raise UnfitError(
                f"{path} does not exist: a .beton file, a folder {path}/<class>/*.jpg, "
                f"ImageNet-C's {path}/<corruption>/<1-5>/<class>/, or CIFAR-10-C's .npy files "
                "were expected."
            )
        return open_data(path)
