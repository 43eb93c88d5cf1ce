"""`encode --holdout`: which images go into the second file, and the names of both files.

Legend: N images, C classes.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np

from fastneg.config import ConfigError
from fastneg.counts import counted
from fastneg.data.beton.sidecar import sidecar_of
from fastneg.data.errors import BetonError


def held_out_path(out):
    """Where the held-out images of a file go: OUT.beton → OUT-holdout.beton."""
    out = Path(out)
    return out.with_name(f"{out.stem}-holdout{out.suffix}")


class Holdout:
    """Decides, image by image in shuffled order, which ones are held out: in each class its share.

    Every class with two or more images that can be used and differ in their bytes has one on each
    side. The first of a class stays, the second is held out, and its share decides on the others.
    Images of the same bytes go to the same side, even where their labels differ.

    Args:
        labels: (N,) ints, or None: all images count as one class.
        wanted: below 1 the share of each class, else a number of images, spread over the classes.
        classes: list of the class names, or None.
    Raises:
        ConfigError: there are not so many images to hold out, or fewer than one for each class.
    """

    def __init__(self, labels, wanted, total, classes=None):
        self._classes = classes
        numbers = np.zeros(total, np.int64) if labels is None else np.asarray(labels, np.int64)
        self._counts = np.bincount(numbers, minlength=len(classes or ()))
        self._planned = _planned(self._counts, wanted)
        self._seen, self._held = np.zeros_like(self._counts), np.zeros_like(self._counts)
        self._side = {}
        self.doubles = 0
        """Images that lie where another of the same bytes does."""

    def takes(self, label, data):
        """Whether an image is held out.

        Args:
            label: int, or None.
            data: its bytes, or (CRC32, size) of them.
        """
        key, label = data if isinstance(data, tuple) else key_of(data), label or 0
        seen, held = int(self._seen[label]), int(self._held[label])
        side = self._side.get(key)
        if side is None:
            planned, count = int(self._planned[label]), int(self._counts[label])
            # In proportion, rounded, of the images up to this one; at the end it is what is
            # planned.
            due = max(1, (2 * planned * (seen + 1) + count) // (2 * count)) if planned else 0
            side = self._side[key] = seen > held and held < due
        else:
            self.doubles += 1
        self._seen[label] += 1
        self._held[label] += side
        return side

    def summary(self, path):
        """What to tell of it: path, images, doubles, only_train and only_holdout (class names).

        Raises:
            BetonError: nothing was held out.
        """
        if not self._held.any():
            raise BetonError(
                f"{path} would hold no image, because all usable images of a class are copies of "
                "one image. Leave --holdout out."
            )
        found, name = (
            self._seen > 0,
            lambda numbers: [self._name(i) for i in np.flatnonzero(numbers)],
        )
        return {
            "path": str(path),
            "images": int(self._held.sum()),
            "doubles": self.doubles,
            "only_train": name(found & (self._held == 0)),
            "only_holdout": name(found & (self._held == self._seen)),
        }

    def _name(self, number):
        return str(number) if self._classes is None else self._classes[number]


def key_of(data):
    """What tells the bytes of an image from others: their CRC32 and size."""
    data = memoryview(data)
    return zlib.crc32(data), data.nbytes


def _planned(counts, wanted):
    """(C,) int64, how many of each class of (C,) images are held out."""
    able, total = counts > 1, int(counts.sum())
    if not able.any():
        raise ConfigError(
            f"--holdout is {wanted:g}, but no class has two images ({counted(total, 'image')} in "
            f"{counted(int((counts > 0).sum()), 'class')}): leave it out."
        )
    planned, several = np.zeros_like(counts), counts[able]
    if wanted < 1:
        planned[able] = np.clip(np.floor(wanted * several + 0.5), 1, several - 1)
        return planned
    least, most = len(several), int((several - 1).sum())
    if not least <= wanted <= most:
        raise ConfigError(
            f"--holdout is {wanted:.0f} images: {least} to {most} of these {total} can be held "
            f"out, at least one of each of the {counted(least, 'class')} with two or more images, "
            "and never all images of a class."
        )
    quota = wanted * several / several.sum()
    shares = np.clip(np.floor(quota), 1, several - 1)
    while shares.sum() != wanted:  # one image a round, where the quota is missed by most
        step = 1 if shares.sum() < wanted else -1
        free = shares < several - 1 if step > 0 else shares > 1
        shares[np.where(free, step * (quota - shares), -np.inf).argmax()] += step
    planned[able] = shares
    return planned


def refuse_other_pair(out, holdout):
    """Keep two files of which one would be stale from standing side by side.

    Args:
        out: Path of the file to write.
        holdout: the value of --holdout, or None.
    Raises:
        ConfigError: OUT-holdout.beton is a file of something else, or would outlive its OUT.beton.
    """
    path = held_out_path(out)
    if not path.exists():
        return
    partner = path.is_file() and _partner(path) == out.name
    if holdout is not None and not partner:
        raise ConfigError(
            f"--holdout would write {path}, which exists and was not written by --holdout with "
            f"{out}: move it, or give OUT another name."
        )
    if holdout is None and partner:
        raise ConfigError(
            f"{path} holds images that --holdout kept out of {out}, which would then hold them "
            "too: remove it, give --holdout again, or give OUT another name."
        )


def _partner(path):
    """The name of the file that images of this one were held out from, or None."""
    try:
        notes = json.loads(sidecar_of(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    told = notes.get("holdout") if isinstance(notes, dict) else None
    is_holdout = isinstance(told, dict) and told.get("part") == "holdout"
    return told.get("other") if is_holdout else None
