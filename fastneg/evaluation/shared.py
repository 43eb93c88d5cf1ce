"""Images of a test set on which the classifier was trained.

They are told, and noted with the sets' figures.
"""

from __future__ import annotations

import os

import numpy as np

from fastneg.data.beton.identity import content_key
from fastneg.data.beton.overlap import FIELD, checksum_keys, shared_images, told_shared
from fastneg.data.beton.reader import BetonReader
from fastneg.data.beton.shards import BetonSet
from fastneg.data.errors import BetonError


def train_facts(spec, reader):
    """What linear.pt keeps of the training set, so that it is found and known again.

    Args:
        spec: how the command named it.
        reader: its open reader.
    """
    files = [os.path.abspath(file) for file in reader.files]
    return {
        "train": str(spec),
        "train_files": files,
        "train_fingerprint": reader.fingerprint,
        "train_data": content_key(reader),
    }


def mark_shared(name, rows, reader, head, report=print):
    """Write into the lines of a test set how many of its images the classifier was trained on.

    The field is None where that cannot be told, because the training set is gone or is another one
    now; a line of similarities has none, since the classifier has no part in them.

    Args:
        name: of the set.
        rows: its lines, dicts, which are changed.
        reader: its open reader.
        head: LinearClassifier of `load_linear`.
        report: called with a line for a person where images are shared, or nothing is known.
    """
    try:
        with _open_train(head) as train:
            count = int(shared_images(train, reader).sum())
            words = told_shared(count, len(reader), head.facts["train"], reader.path)
    except (BetonError, OSError) as error:
        count = None
        words = f"whether the classifier was trained on images of it is not known: {error}"
    if words:
        report(f"{name}: {words}")
    for row in rows:
        if row["kind"] != "similarity":
            row[FIELD] = count


class TrainedOn:
    """The images that a classifier was trained on, to be looked for in many small sets.

    They are told by checksums alone: sets without any would have to be read again for each.
    """

    def __init__(self, head):
        self.train = head.facts.get("train")
        """How `fastneg linear` named them."""
        self.unknown = ""
        """Why it is not known what they are; "" where it is."""
        try:
            with _open_train(head) as train:
                self._keys = checksum_keys(train)
                if self._keys is None:
                    self.unknown = f"{train.path} holds no checksums."
        except (BetonError, OSError) as error:
            self._keys, self.unknown = None, str(error)

    def count(self, reader):
        """How many images of an open set are among them; None where that is not known."""
        keys = checksum_keys(reader)
        if self._keys is None or keys is None:
            return None
        return int(np.isin(keys, self._keys).sum())


def _open_train(head):
    files = head.facts.get("train_files")
    if "imported" in head.facts:
        raise BetonError(f"it came with {head.facts['imported']}, and was trained elsewhere.")
    if not files:
        raise BetonError("linear.pt does not say on which files, run fastneg linear again.")
    reader = BetonReader(files[0]) if len(files) == 1 else BetonSet(files)
    if reader.fingerprint != head.facts["train_fingerprint"]:
        reader.close()
        raise BetonError(f"{reader.path} is not what linear.pt was trained on.")
    return reader
