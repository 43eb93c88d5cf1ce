"""CIFAR-10-C and CIFAR-100-C: arrays of corrupted images.

Source: Hendrycks and Dietterich 2019, arXiv:1903.12261. NAME.npy is (50000, 32, 32, 3) uint8: the
10,000 test images at severity 1, then at 2 to 5. labels.npy is (50000,).
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from fastneg.config import UnfitError
from fastneg.counts import counted
from fastneg.data.beton.writer import BetonWriter
from fastneg.data.encode.class_folders import list_whole
from fastneg.data.known_classes import is_number, numbered_names
from fastneg.evaluation.corruptions import CORRUPTIONS, SEVERITIES
from fastneg.evaluation.sets.corrupted import CorruptedKind

LABELS = "labels.npy"
ONE_SEVERITY = 10_000
"""Images of CIFAR's test sets: a file of as many holds a single severity."""


class CifarC(CorruptedKind):
    """A folder of NAME.npy with labels.npy among them."""

    place_of = "{path}/{name}.npy"

    def root(self, path):
        path = Path(path)
        while path.is_dir() and not (path / LABELS).is_file():
            folders = list_whole(path).folders
            if len(folders) != 1:
                return None
            path = path / folders[0]
        return path if find_arrays(path) else None

    def published(self, root):
        return {cell: place for cell, place in find_arrays(root).items() if cell[0] in CORRUPTIONS}

    def places(self, root):
        return find_arrays(root)

    def beton_of(self, place, folder, context):
        return place.write(folder / "cell.beton", context.head.classes)


class Arrays(NamedTuple):
    """One severity of a corruption in a .npy file."""

    images: Path
    severity: int

    def write(self, path, classes):
        """Write the images as raw pixels into a .beton file; returns its path.

        Args:
            classes: the classifier's class names, or None.
        Raises:
            ConfigError: arrays of another form, or a classifier of other classes than CIFAR's.
        """
        images, labels = _loaded(self.images), _labels(self.images.parent)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise UnfitError(
                f"{self.images} is {images.shape} {images.dtype}: (images, height, width, 3) uint8 "
                "was expected."
            )
        each, rest = divmod(len(images), len(SEVERITIES))
        tiled = each > 0 and np.array_equal(labels, np.tile(labels[:each], len(SEVERITIES)))
        if len(labels) == each and not rest:
            labels = np.tile(labels, len(SEVERITIES))
        if (
            rest
            or each == 0
            or len(labels) != len(images)
            or (len(images) == ONE_SEVERITY and not tiled)
        ):
            raise UnfitError(
                f"{self.images} holds {counted(len(images), 'image')}, {LABELS} {len(labels)} "
                "labels: the same images at severities 1 to 5, one after the other, and a label "
                "for each were expected (CIFAR-10-C: 50,000)."
            )
        names = [str(number) for number in range(int(labels.max()) + 1)]
        _refuse_other_classes(self.images.parent, names, classes)
        own = slice((self.severity - 1) * each, self.severity * each)
        with BetonWriter(path, classes=names if classes is not None else None) as writer:
            for pixels, label in zip(images[own], labels[own], strict=True):
                writer.add_raw(np.array(pixels), label=int(label))
        return path


def _refuse_other_classes(folder, names, classes):
    """Refuse a classifier of other classes than CIFAR's, whose numbers labels.npy holds.

    It must know them by their names or by their numbers.
    """
    if classes is None or all(map(is_number, classes)):
        return
    found = numbered_names(names, classes)
    if found is None or not found[0].startswith("CIFAR"):
        some = ", ".join(list(classes)[:3])
        raise UnfitError(
            f"{folder / LABELS} numbers its classes, 0 to {len(names) - 1}, in CIFAR's order, and "
            f"the classifier knows {some}, …: CIFAR-10's "
            "names (airplane, automobile, …), the fine ones of CIFAR-100, or numbers were expected."
        )


def _loaded(path):
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise UnfitError(f"{path} cannot be read as a .npy file of numbers: {error}.") from error


def _labels(folder):
    labels = _loaded(folder / LABELS)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels) or labels.min() < 0:
        raise UnfitError(
            f"{folder / LABELS} is {labels.shape} {labels.dtype}: whole numbers from 0 on, one for "
            "each image, were expected."
        )
    return np.asarray(labels, np.int64)


def find_arrays(path):
    """{(corruption, severity): Arrays} of a folder of .npy files; {} where it has no labels.npy."""
    if not (Path(path) / LABELS).is_file():
        return {}
    names = list_whole(path).files
    files = [Path(path) / name for name in names if name.endswith(".npy") and name != LABELS]
    return {
        (file.stem, severity): Arrays(file, severity) for file in files for severity in SEVERITIES
    }
