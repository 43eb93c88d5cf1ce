"""RUN/predictions/<set>.npz: the answers of a run to each image of a test set."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fastneg.files import write_atomically
from fastneg.runs.paths import PREDICTIONS, predictions_path

UNKNOWN = -1
"""The label of an image of which the classifier does not know the class."""


@dataclass(frozen=True)
class Predictions:
    """The images of a set whose class the classifier knows, by rising index; all (n,)."""

    index: np.ndarray
    """int64 position in the set's .beton file."""
    label: np.ndarray
    """int64, in the classifier's numbering."""
    predicted: np.ndarray
    """int64, in the classifier's numbering."""
    confidence: np.ndarray
    """float32, 0 to 1: the softmax of the answer."""
    classes: tuple[str, ...] | None = None
    """What the numbers are called where they are not the classifier's, as with categories."""

    @property
    def right(self):
        """(n,) bool."""
        return self.label == self.predicted


def save_predictions(run, test_set, index, labels, predicted, confidence, classes=None):
    """Write RUN/predictions/<set>.npz through a temporary name.

    Args:
        index, labels, predicted: (n,) int64 tensors, as of `Predictions`; a label is -1 where the
            classifier does not know the class.
        confidence: (n,) float32 tensor.
        classes: what the numbers are called where they are not the classifier's.
    """
    path = predictions_path(run, test_set)
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"index": index, "label": labels, "predicted": predicted, "confidence": confidence}
    content = {field: values.cpu().numpy() for field, values in arrays.items()}
    if classes is not None:
        content["classes"] = np.array(classes)
    write_atomically(path, lambda file: np.savez_compressed(file, **content))


def read_predictions(folder):
    """What a run folder holds.

    Returns:
        ({set: Predictions}, problems in words). Sets without an image of a known class are left
        out.
    """
    found, problems = {}, []
    for path in sorted((Path(folder) / PREDICTIONS).glob("*.npz")):
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = [file[name] for name in ("index", "label", "predicted", "confidence")]
                classes = tuple(map(str, file["classes"])) if "classes" in file else None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            problems.append(f"predictions/{path.name} cannot be read: {error}.")
            continue
        if any(array.ndim != 1 or array.shape != arrays[0].shape for array in arrays) or any(
            a.dtype.kind not in "iu" for a in arrays[:3]
        ):
            shapes = ", ".join(f"{array.dtype}{list(array.shape)}" for array in arrays)
            expected = (
                "index, label and predicted as whole numbers and confidence, equally "
                "long, were expected"
            )
            problems.append(f"predictions/{path.name} holds {shapes}: {expected}.")
            continue
        index, label, predicted, confidence = arrays
        order = np.argsort(index, kind="stable")
        order = order[label[order] != UNKNOWN]
        if len(order):
            whole = (array[order].astype(np.int64) for array in (index, label, predicted))
            found[path.stem] = Predictions(*whole, confidence[order], classes)
    return found, problems


def reliability_bins(predictions, bins=10):
    """[(mean confidence, accuracy, images)] in percent, of the bins of equal width that hold
    images."""
    place = np.minimum((predictions.confidence * bins).astype(int), bins - 1)
    found = []
    for number in range(bins):
        own = place == number
        if own.any():
            found.append(
                (
                    100 * float(predictions.confidence[own].mean()),
                    100 * float(predictions.right[own].mean()),
                    int(own.sum()),
                )
            )
    return found
