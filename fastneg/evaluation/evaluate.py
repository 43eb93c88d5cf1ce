"""One test set of a run: the lines of evaluation.jsonl, and the answers to its images.

Legend: N images, C classes of the classifier.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fastneg.data.labels import ABSENT, join_labels
from fastneg.evaluation.features import features_of
from fastneg.evaluation.metrics import accuracy, answers, calibration_error, class_accuracies, columns_of, embedding
from fastneg.evaluation.shape_bias import shape_bias
from fastneg.evaluation.test_sets import texture_labels
from fastneg.training.checkpoint import write_atomically


def evaluate_set(run, name, reader, loaded, head, *, arg_max="all", device="cpu", threads=0, report=print):
    """The lines of evaluation.jsonl for one test set: accuracy, accuracy by class, features in two dimensions, and shape bias if its cues
    conflict (see `texture_labels`). The answers are stored in RUN/predictions/<name>.npz.

    Args:
        run: the run folder, where features are kept.
        name: of the set.
        reader: its open `BetonReader`.
        loaded: `LoadedRun` on `device`.
        head: LinearClassifier.
        report: called with lines for a person.
    Returns:
        list of dicts, accuracy first.
    Raises:
        ConfigError: no labels, or classes that cannot be joined to the classifier's.
    """
    labels, joined = join_labels(reader, head.classes, head.out_features)
    known = labels != ABSENT
    if not known.all():
        classes = (joined != ABSENT).sum().item()
        report(f"{name}: {classes} of {len(joined)} classes and {known.sum().item()} of {len(labels)} images remain.")
    found = features_of(run, loaded, reader, device, threads, report)
    logits = head.logits(found.features, device)
    predicted, confidence = answers(logits, columns_of(labels, arg_max))
    save_predictions(run, name, found.index, labels, predicted, confidence)
    right, true = (predicted == labels)[known], labels[known]
    common = {"set": name, "path": str(reader.path), "checkpoint": loaded.checkpoint}
    result = accuracy(logits, labels, arg_max)
    rows = [
        {"kind": "accuracy", **common, **result.figures(), "ece": calibration_error(confidence[known], right), "arg_max": arg_max},
        {"kind": "per_class", **common, "by_class": class_accuracies(right, true, head.classes), "arg_max": arg_max},
        {"kind": "embedding", **common, **embedding(found.features[known], true, head.classes)},
    ]
    textures = texture_labels(reader)
    if textures is not None:
        textures = joined[textures]
        both = known & (textures != ABSENT)
        if both.any():
            categories = {str(name): [number] for number, name in enumerate(head.classes or range(head.out_features))}
            bias = shape_bias(logits[both].softmax(1), labels[both], textures[both], categories)
            rows.append({"kind": "shape_bias", **common, **bias.figures()})
        else:
            report(f"{name}: no shape bias, because the classifier knows shape and texture of not one image.")
    return rows


def save_predictions(run, name, index, labels, predicted, confidence):
    """Write RUN/predictions/<name>.npz through a temporary name: index, label (-1 unknown) and predicted int64, confidence float32."""
    path = Path(run) / "predictions" / f"{name.replace('/', '-')}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"index": index, "label": labels, "predicted": predicted, "confidence": confidence}
    content = {field: values.cpu().numpy() for field, values in arrays.items()}
    write_atomically(path, lambda file: np.savez_compressed(file, **content))
