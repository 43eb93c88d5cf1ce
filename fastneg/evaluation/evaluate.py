"""One test set of a run: the lines of evaluation.jsonl, and the answers to its images.

Legend: N images, C classes of the classifier.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from fastneg.config import ConfigError
from fastneg.data.known_classes import told_of_numbers
from fastneg.data.labels import ABSENT, join_labels, labels_of
from fastneg.evaluation.categories import CATEGORIES_16
from fastneg.evaluation.category_answers import category_logits, join_categories
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
from fastneg.evaluation.sessions import conditions_of
from fastneg.evaluation.shape_bias import shape_bias
from fastneg.evaluation.test_sets import scored_labels, texture_labels
from fastneg.evaluation.view import run_view, told_of_view
from fastneg.training.checkpoint import write_atomically

TRUTHS = {
    "label": "the labels, as a set of textures in folders of classes",
    "texture field": "the textures that its int field texture names",
    "file names": "the textures that its file names tell",
}
"""What the words of `scored_labels` mean."""


class Judged(NamedTuple):
    """What answers are held against, in the classifier's classes or in categories of them."""

    logits: torch.Tensor
    """(N, K), K classes or categories."""
    labels: torch.Tensor
    """(N,) int64, or ABSENT."""
    names: list[str] | None
    """Of the K; None: by number."""
    fields: dict
    """Of the lines of evaluation.jsonl: `categories` where the K are such."""


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
    view=None,
):
    """The lines of evaluation.jsonl for one test set: accuracy, accuracy by class, features in two dimensions, and shape bias if its cues
    conflict (see `texture_labels`). The answers are stored in RUN/predictions/<name>.npz.

    A set whose classes are not the classifier's but categories is scored in these: the mean probability over each category's classes,
    arg-max. If its cues conflict it gets its shape bias alone, unless another metric is asked for.

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
        view: `View` of the images; None: the run's.
    Returns:
        list of dicts.
    Raises:
        ConfigError: no labels, classes that cannot be joined to the classifier's, or no conflict of cues where shape bias is asked for.
    """
    view = view or run_view(loaded.config)
    common = {"set": name, "path": str(reader.path), "checkpoint": loaded.checkpoint, **view.fields()}
    if said := told_of_view(view, reader, loaded.config):
        report(f"{name}: {said}")
    textures = texture_labels(reader) if labels_of(reader) is not None and metric in (None, "shape_bias") else None
    if metric == "shape_bias" and textures is None:
        raise ConfigError(
            f"{reader.path} is no set of conflicting cues: an int field texture that names another class than each image's own, or file "
            "names such as cat7-elephant2.png, were expected."
        )
    foreign = bool(head.classes and reader.classes) and not set(reader.classes) & set(head.classes)
    by_category = foreign and (textures is not None or bool(set(reader.classes) & set(categories)))
    own, truth = scored_labels(reader, metric)
    if metric == "texture":
        report(f"{name}: scored by {TRUTHS[truth]}.")
    if metric != "shape_bias" and not (by_category and textures is not None):
        refuse_other(run, name, "truth", truth, "scored by the")
    if by_category:
        members, joined = join_categories(reader, head, categories)
        labels = torch.where(own == ABSENT, ABSENT, joined[own])
    else:
        labels, joined = join_labels(reader, head.classes, head.out_features, own)
        if said := told_of_numbers(reader.classes, head.classes):
            report(f"{name}: {said}")
    _tell_remaining(name, reader, labels, joined, textures, by_category, head, report)
    found = features_of(run, loaded, reader, device, threads, report, resize=view.side)
    labels, logits, common["skipped"] = labels[found.index], head.logits(found.features, device), len(found.skipped)
    judged = Judged(logits, labels, head.classes, {})
    if by_category:
        counts = {"categories": {category: len(numbers) for category, numbers in members.items()}}
        judged = Judged(category_logits(logits, members), labels, list(members), counts)
    rows = []
    if metric != "shape_bias" and not (by_category and textures is not None):
        rows = _accuracy_rows(run, name, found, judged, {**common, "truth": truth}, metric, groups, arg_max, report)
        conditions = conditions_of(reader.names)
        if conditions is not None and len(set(conditions)) > 1:
            rows[0]["by_condition"] = _by_condition(judged, [conditions[i] for i in found.index.tolist()], arg_max)
    if textures is not None:
        rows += _bias_rows(name, judged, joined[textures[found.index]], common, report)
    return rows


def _tell_remaining(name, reader, labels, joined, textures, by_category, head, report):
    """Say how many classes and images are left, and in what they are answered; ConfigError if no image is."""
    kept = labels != ABSENT
    conflicting = by_category and textures is not None
    if conflicting:
        worn = joined[textures]
        kept = kept & (worn != ABSENT) & (worn != labels)
    if by_category and not kept.any():
        what = "shape and texture" if conflicting else "the category"
        known = ", ".join(name for name, place in zip(reader.classes, joined.tolist(), strict=True) if place != ABSENT) or "none"
        raise ConfigError(f"Of {reader.path} the classifier knows {what} of not one image: it covers {known}.")
    words, classes = "categories" if by_category else "classes", (joined != ABSENT).sum().item()
    if by_category or not kept.all():
        report(f"{name}: {classes} of {len(joined)} {words} and {kept.sum().item()} of {len(labels)} images remain.")


def _bias_rows(name, judged, textures, common, report):
    """The line of shape bias; none where the classifier knows shape and texture of no image of conflicting cues."""
    both = (judged.labels != ABSENT) & (textures != ABSENT)
    if not (both & (textures != judged.labels)).any():
        report(f"{name}: no shape bias, because the classifier knows shape and texture of not one image.")
        return []
    each = {str(own): [number] for number, own in enumerate(judged.names or range(judged.logits.shape[1]))}
    bias = shape_bias(judged.logits[both].softmax(1), judged.labels[both], textures[both], each)
    agree = f"; {bias.without_conflict} more have none and do not count" if bias.without_conflict else ""
    report(f"{name}: coverage is over the {bias.images} images with a conflict of cues{agree}; by chance {bias.chance_coverage:.1f}%.")
    return [{"kind": "shape_bias", **common, **bias.figures(), **judged.fields}]


def _by_condition(judged, conditions, arg_max):
    """{condition: {top1, images}} of a set with conditions, such as levels of contrast, by their order in the files' names."""
    columns, known = columns_of(judged.labels, arg_max), (judged.labels != ABSENT).tolist()
    right = (answers(judged.logits, columns)[0] == judged.labels).tolist()
    hits = {}
    for condition, hit, counts in zip(conditions, right, known, strict=True):
        if counts:
            hits.setdefault(condition, []).append(hit)
    return {condition: {"top1": 100.0 * sum(own) / len(own), "images": len(own)} for condition, own in sorted(hits.items())}


def _accuracy_rows(run, name, found, judged, common, metric, groups, arg_max, report):
    logits, labels, classes = judged.logits, judged.labels, judged.names
    known, common = labels != ABSENT, {**common, **judged.fields}
    predicted, confidence = answers(logits, columns_of(labels, arg_max))
    save_predictions(run, name, found.index, labels, predicted, confidence, classes if judged.fields else None)
    right, true = (predicted == labels)[known], labels[known]
    result, by_class = accuracy(logits, labels, arg_max), class_accuracies(predicted[known], true, classes)
    classwise = {**common, "by_class": by_class, **answer_shares(predicted[known], true, classes)}
    first = {"kind": "accuracy", **common, **result.figures(), "ece": calibration_error(confidence[known], right), "arg_max": arg_max}
    if judged.fields:
        first["chance"] = 100.0 / (result.classes if arg_max == "present" else len(classes))
        report(f"{name}: scored in {len(classes)} categories, by the mean probability over each one's classes; chance {first['chance']:.1f}%.")
    if metric == "texture":
        summed = None if groups is None else _grouped(name, by_class, groups, report)
        return [first, {"kind": "texture_classes", **classwise, "groups": summed, "arg_max": arg_max}]
    return [
        first,
        {"kind": "per_class", **classwise, "arg_max": arg_max},
        {"kind": "embedding", **common, **embedding(found.features[known], true, classes)},
    ]


def _grouped(name, by_class, groups, report):
    """The accuracies of classes summed up by groups; what the groups miss is said."""
    named = {member for members in groups.values() for member in members}
    absent, ungrouped = named - set(by_class), set(by_class) - named
    for what, left in (("named in groups have no image here", absent), ("here are in no group", ungrouped)):
        if left:
            report(f"{name}: {len(left)} classes {what}: {', '.join(sorted(left)[:3])}{', …' if len(left) > 3 else ''}.")
    return group_accuracies(by_class, groups)


def save_predictions(run, name, index, labels, predicted, confidence, classes=None):
    """Write RUN/predictions/<name>.npz through a temporary name: index, label (-1 unknown) and predicted int64, confidence float32; and
    classes, text, what the numbers are called where they are not the classifier's."""
    path = Path(run) / "predictions" / f"{name.replace('/', '-')}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"index": index, "label": labels, "predicted": predicted, "confidence": confidence}
    content = {field: values.cpu().numpy() for field, values in arrays.items()} | ({} if classes is None else {"classes": np.array(classes)})
    write_atomically(path, lambda file: np.savez_compressed(file, **content))
