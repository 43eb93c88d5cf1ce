"""One test set of a run: the lines of evaluation.jsonl, and the answers to its images.

Legend: N images, C classes of the classifier.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from fastneg.config import ConfigError
from fastneg.counts import counted
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
from fastneg.evaluation.sets.named import scored_labels, texture_labels
from fastneg.evaluation.sets.sessions import conditions_of
from fastneg.evaluation.sets.view import run_view, told_of_view
from fastneg.evaluation.shape_bias import shape_bias
from fastneg.runs.predictions import save_predictions
from fastneg.runs.results import refuse_other

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
    """The lines of evaluation.jsonl for one test set: accuracy, accuracy by class, features in two
    dimensions, and shape bias if its cues conflict (see `texture_labels`). The answers are stored
    in RUN/predictions/<name>.npz.

    A set whose classes are not the classifier's but categories is scored in these: the mean
    probability over each category's classes, arg-max. If its cues conflict it gets its shape bias
    alone, unless another metric is asked for.

    Args:
        run: the run folder, where features are kept.
        name: of the set.
        reader: its open `BetonReader`.
        loaded: `LoadedRun` on `device`.
        head: LinearClassifier.
        metric: one of METRICS but corruptions, for that alone; "texture" gives accuracy, and by
            class as kind texture_classes, against the class whose texture an image wears (see
            `scored_labels`).
        categories: {category: class names} for such sets.
        groups: {group: class names} to sum the classes of a texture set up by, or None.
        report: called with lines for a person.
        view: `View` of the images; None: the run's.
    Returns: list of dicts.
    Raises:
        ConfigError: no labels, classes that cannot be joined to the classifier's, or no conflict of
            cues where shape bias is asked for.
    """
    view = view or run_view(loaded.config)
    if said := told_of_view(view, reader, loaded.config):
        report(f"{name}: {said}")
    known = _label(run, name, reader, head, metric, categories, report)
    found = features_of(run, loaded, reader, device, threads, report, resize=view.side)
    common = {"set": name, "path": str(reader.path), "checkpoint": loaded.checkpoint}
    common |= {**view.fields(), "skipped": len(found.skipped)}
    labels, logits = known.labels[found.index], head.logits(found.features, device)
    judged = Judged(logits, labels, head.classes, {})
    if known.members is not None:
        counts = {category: len(numbers) for category, numbers in known.members.items()}
        logits = category_logits(logits, known.members)
        judged = Judged(logits, labels, list(known.members), {"categories": counts})
    rows = []
    if known.scored:
        scored = {**common, "truth": known.truth}
        rows = _accuracy_rows(run, name, found, judged, scored, metric, groups, arg_max, report)
        rows[0] |= _by_condition(reader, found.index, judged, arg_max)
    if known.textures is not None:
        rows += _bias_rows(name, judged, known.textures[found.index], common, report)
    return rows


class _Labelling(NamedTuple):
    labels: torch.Tensor
    """(N,) int64 of the file's images: places among the classifier's classes or categories, or
    ABSENT."""
    textures: torch.Tensor | None
    """(N,) likewise, of sets whose cues conflict."""
    members: dict | None
    """{category: numbers of its classes} where the set's classes are categories."""
    truth: str
    """What an answer is held against: a key of TRUTHS."""
    scored: bool
    """Whether accuracy is given."""


def _label(run, name, reader, head, metric, categories, report):
    """The `_Labelling` of a set; what it leaves out is said."""
    labels_of(reader)  # a file without labels is refused before its names are looked at
    textures = texture_labels(reader) if metric in (None, "shape_bias") else None
    if metric == "shape_bias" and textures is None:
        raise ConfigError(
            f"{reader.path} is no set of conflicting cues: an int field texture that names another "
            "class than each image's own, or file names such as cat7-elephant2.png, were expected."
        )
    foreign = head.classes and reader.classes and not set(reader.classes) & set(head.classes)
    in_categories = foreign and (textures is not None or set(reader.classes) & set(categories))
    scored = metric != "shape_bias" and not (in_categories and textures is not None)
    own, truth = scored_labels(reader, metric)
    if metric == "texture":
        report(f"{name}: scored by {TRUTHS[truth]}.")
    if scored:
        refuse_other(run, name, "truth", truth, "scored by the")
    members = None
    if in_categories:
        members, joined = join_categories(reader, head, categories)
        labels = torch.where(own == ABSENT, ABSENT, joined[own])
    else:
        labels, joined = join_labels(reader, head.classes, head.out_features, own)
        if said := told_of_numbers(reader.classes, head.classes):
            report(f"{name}: {said}")
    if textures is not None:
        textures = torch.where(textures == ABSENT, ABSENT, joined[textures])
    _tell_remaining(name, reader, labels, joined, textures, members, report)
    return _Labelling(labels, textures, members, truth, scored)


def _tell_remaining(name, reader, labels, joined, textures, members, report):
    """Say how many classes and images are left; ConfigError if no image of categories is."""
    kept, words = labels != ABSENT, "classes"
    if members is not None:
        words = "categories"
        if textures is not None:
            kept = kept & (textures != ABSENT) & (textures != labels)
        if not kept.any():
            what = "the category" if textures is None else "shape and texture"
            covered = ", ".join(members) or "none"
            raise ConfigError(
                f"Of {reader.path} the classifier knows {what} of not one image: it covers "
                f"{covered}."
            )
    if members is not None or not kept.all():
        classes, images = (joined != ABSENT).sum().item(), kept.sum().item()
        report(
            f"{name}: {classes} of {len(joined)} {words} and {images} of "
            f"{counted(len(labels), 'image')} remain."
        )


def _bias_rows(name, judged, textures, common, report):
    """The line of shape bias; none where the classifier knows shape and texture of no image of
    conflicting cues."""
    both = (judged.labels != ABSENT) & (textures != ABSENT)
    if not (both & (textures != judged.labels)).any():
        report(
            f"{name}: no shape bias, because the classifier knows shape and texture of not one "
            "image."
        )
        return []
    each = {
        str(own): [number]
        for number, own in enumerate(judged.names or range(judged.logits.shape[1]))
    }
    bias = shape_bias(judged.logits[both].softmax(1), judged.labels[both], textures[both], each)
    agree = (
        f"; {bias.without_conflict} more have none and do not count"
        if bias.without_conflict
        else ""
    )
    report(
        f"{name}: coverage is over the {counted(bias.images, 'image')} with a conflict of "
        f"cues{agree}; by chance {bias.chance_coverage:.1f}%."
    )
    return [{"kind": "shape_bias", **common, **bias.figures(), **judged.fields}]


def _by_condition(reader, index, judged, arg_max):
    """{"by_condition": {condition: {top1, images}}} of a set with sessions and several conditions,
    such as levels of contrast; {} of any other."""
    conditions = conditions_of(reader.names)
    if conditions is None or len(set(conditions)) == 1:
        return {}
    known = judged.labels != ABSENT
    right = answers(judged.logits, columns_of(judged.labels, arg_max))[0] == judged.labels
    hits = {}
    for place in known.nonzero()[:, 0].tolist():
        hits.setdefault(conditions[index[place]], []).append(bool(right[place]))
    found = {
        name: {"top1": 100.0 * sum(own) / len(own), "images": len(own)}
        for name, own in hits.items()
    }
    return {"by_condition": dict(sorted(found.items()))}


def _accuracy_rows(run, name, found, judged, common, metric, groups, arg_max, report):
    logits, labels, classes = judged.logits, judged.labels, judged.names
    known, common = labels != ABSENT, {**common, **judged.fields}
    predicted, confidence = answers(logits, columns_of(labels, arg_max))
    save_predictions(
        run, name, found.index, labels, predicted, confidence, classes if judged.fields else None
    )
    right, true = (predicted == labels)[known], labels[known]
    result = accuracy(logits, labels, arg_max)
    by_class = class_accuracies(predicted[known], true, classes)
    shares = answer_shares(predicted[known], true, classes)
    classwise = {**common, "by_class": by_class, **shares}
    first = {
        "kind": "accuracy",
        **common,
        **result.figures(),
        "ece": calibration_error(confidence[known], right),
        "arg_max": arg_max,
    }
    first["most_answered"] = shares["most_answered"]
    if judged.fields:
        first["chance"] = 100.0 / (result.classes if arg_max == "present" else len(classes))
        report(
            f"{name}: scored in {counted(len(classes), 'category')}, by the mean probability over "
            f"each one's classes; chance {first['chance']:.1f}%."
        )
    if metric == "texture":
        summed = None if groups is None else _grouped(name, by_class, groups, report)
        return [
            first,
            {"kind": "texture_classes", **classwise, "groups": summed, "arg_max": arg_max},
        ]
    return [
        first,
        {"kind": "per_class", **classwise, "arg_max": arg_max},
        {"kind": "embedding", **common, **embedding(found.features[known], true, classes)},
    ]


def _grouped(name, by_class, groups, report):
    """The accuracies of classes summed up by groups; what the groups miss is said."""
    named = {member for members in groups.values() for member in members}
    absent, ungrouped = named - set(by_class), set(by_class) - named
    for what, left in (
        ("named in groups have no image here", absent),
        ("here are in no group", ungrouped),
    ):
        if left:
            report(
                f"{name}: {counted(len(left), 'class')} {what}: "
                f"{', '.join(sorted(left)[:3])}{', …' if len(left) > 3 else ''}."
            )
    return group_accuracies(by_class, groups)
