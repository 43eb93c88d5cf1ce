"""One test set of a run: the lines of evaluation.jsonl, and the answers to its images.

Legend: N images, C classes of the classifier.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from fastneg.config import ConfigError
from fastneg.data.labels import ABSENT, join_labels, labels_of
from fastneg.evaluation.categories import CATEGORIES_16, members_of
from fastneg.evaluation.features import features_of
from fastneg.evaluation.metrics import (
    accuracy,
    answer_shares,
    answers,
    calibration_error,
    class_accuracies,
    columns_of,
    embedding,
    group_accuracies,
)
from fastneg.evaluation.run import refuse_other
from fastneg.evaluation.shape_bias import shape_bias
from fastneg.evaluation.test_sets import scored_labels, texture_labels
from fastneg.training.checkpoint import write_atomically

TRUTHS = {
    "label": "the labels, as a set of textures in folders of classes",
    "texture field": "the textures that its int field texture names",
    "file names": "the textures that its file names tell",
}
"""What the words of `scored_labels` mean."""


def evaluate_set(
    run,
    name,
    reader,
    loaded,
    head,
    *,
    metric=None,
    categories=CATEGORIES_16,
    groups=None,
    arg_max="all",
    device="cpu",
    threads=0,
    report=print,
):
    """The lines of evaluation.jsonl for one test set: accuracy, accuracy by class, features in two dimensions, and shape bias if its cues
    conflict (see `texture_labels`). The answers are stored in RUN/predictions/<name>.npz.

    A set of conflicting cues whose classes are not the classifier's, but categories, gets its shape bias alone.

    Args:
        run: the run folder, where features are kept.
        name: of the set.
        reader: its open `BetonReader`.
        loaded: `LoadedRun` on `device`.
        head: LinearClassifier.
        metric: one of METRICS but corruptions, for that alone; "texture" gives accuracy, and by class as kind texture_classes, against the
            class whose texture an image wears (see `scored_labels`).
        categories: {category: class names} for such sets.
        groups: {group: class names} to sum the classes of a texture set up by, or None.
        report: called with lines for a person.
    Returns:
        list of dicts.
    Raises:
        ConfigError: no labels, classes that cannot be joined to the classifier's, or no conflict of cues where shape bias is asked for.
    """
    common = {"set": name, "path": str(reader.path), "checkpoint": loaded.checkpoint}
    textures = texture_labels(reader) if labels_of(reader) is not None and metric in (None, "shape_bias") else None
    if metric == "shape_bias" and textures is None:
        raise ConfigError(
            f"{reader.path} is no set of conflicting cues: an int field texture that names another class than each image's own, or file "
            "names such as cat7-elephant2.png, were expected."
        )
    if textures is not None and head.classes and reader.classes and not set(reader.classes) & set(head.classes):
        found = features_of(run, loaded, reader, device, threads, report)
        shapes, textures, logits = labels_of(reader)[found.index], textures[found.index], head.logits(found.features, device)
        common["skipped"] = len(found.skipped)
        return [{"kind": "shape_bias", **common, **_by_category(name, reader, logits, shapes, textures, head, categories, report)}]
    own, truth = scored_labels(reader, metric)
    if metric == "texture":
        report(f"{name}: scored by {TRUTHS[truth]}.")
    if metric != "shape_bias":
        refuse_other(run, name, "truth", truth, "scored by the")
    labels, joined = join_labels(reader, head.classes, head.out_features, own)
    known = labels != ABSENT
    if not known.all():
        classes = (joined != ABSENT).sum().item()
        report(f"{name}: {classes} of {len(joined)} classes and {known.sum().item()} of {len(labels)} images remain.")
    found = features_of(run, loaded, reader, device, threads, report)
    labels, known, common["skipped"] = labels[found.index], known[found.index], len(found.skipped)
    logits = head.logits(found.features, device)
    rows, scored = [], {**common, "truth": truth}
    if metric != "shape_bias":
        rows = _accuracy_rows(run, name, found, logits, labels, head, scored, metric, groups, arg_max, report)
    if textures is not None:
        textures = joined[textures[found.index]]
        both = known & (textures != ABSENT) & (textures != labels)
        if both.any():
            each = {str(name): [number] for number, name in enumerate(head.classes or range(head.out_features))}
            bias = shape_bias(logits[both].softmax(1), labels[both], textures[both], each)
            rows.append({"kind": "shape_bias", **common, **bias.figures()})
        else:
            report(f"{name}: no shape bias, because the classifier knows shape and texture of not one image.")
    return rows


def _accuracy_rows(run, name, found, logits, labels, head, common, metric, groups, arg_max, report):
    known = labels != ABSENT
    predicted, confidence = answers(logits, columns_of(labels, arg_max))
    save_predictions(run, name, found.index, labels, predicted, confidence)
    right, true = (predicted == labels)[known], labels[known]
    result, by_class = accuracy(logits, labels, arg_max), class_accuracies(predicted[known], true, head.classes)
    classwise = {**common, "by_class": by_class, **answer_shares(predicted[known], true, head.classes)}
    first = {"kind": "accuracy", **common, **result.figures(), "ece": calibration_error(confidence[known], right), "arg_max": arg_max}
    if metric == "texture":
        summed = None
        if groups is not None:
            summed = group_accuracies(by_class, groups)
            named = {member for members in groups.values() for member in members}
            absent, ungrouped = named - set(by_class), set(by_class) - named
            for what, left in (("named in groups have no image here", absent), ("here are in no group", ungrouped)):
                if left:
                    report(f"{name}: {len(left)} classes {what}: {', '.join(sorted(left)[:3])}{', …' if len(left) > 3 else ''}.")
        return [first, {"kind": "texture_classes", **classwise, "groups": summed, "arg_max": arg_max}]
    return [
        first,
        {"kind": "per_class", **classwise, "arg_max": arg_max},
        {"kind": "embedding", **common, **embedding(found.features[known], true, head.classes)},
    ]


def _by_category(name, reader, logits, shapes, textures, head, categories, report):
    """The figures of shape bias of a set whose classes are categories of the classifier's classes."""
    unknown = [category for category in reader.classes if category not in categories]
    if unknown:
        raise ConfigError(
            f"{reader.path} has the classes {', '.join(unknown[:3])}, which are neither the classifier's nor among the categories "
            f"{', '.join(list(categories)[:3])}, …: give --categories a file {{category: [class, …]}}."
        )
    members = members_of(categories, head.classes)
    place = {category: number for number, category in enumerate(members)}
    joined = torch.tensor([place.get(category, ABSENT) for category in reader.classes])
    shapes, textures = joined[shapes], joined[textures]
    both = (shapes != ABSENT) & (textures != ABSENT) & (shapes != textures)
    if not both.any():
        covered = ", ".join(members) or "none"
        raise ConfigError(f"Of {reader.path} the classifier knows shape and texture of not one image: it covers {covered}.")
    bias = shape_bias(logits[both].softmax(1), shapes[both], textures[both], members)
    report(f"{name}: {len(place)} of {len(categories)} categories and {bias.images} of {len(shapes)} images remain.")
    return {**bias.figures(), "categories": {category: len(numbers) for category, numbers in members.items()}}


def save_predictions(run, name, index, labels, predicted, confidence):
    """Write RUN/predictions/<name>.npz through a temporary name: index, label (-1 unknown) and predicted int64, confidence float32."""
    path = Path(run) / "predictions" / f"{name.replace('/', '-')}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"index": index, "label": labels, "predicted": predicted, "confidence": confidence}
    content = {field: values.cpu().numpy() for field, values in arrays.items()}
    write_atomically(path, lambda file: np.savez_compressed(file, **content))
