"""Sets with labels: accuracy, answers, and shape bias where their cues conflict.

Legend: N images, C classes of the classifier, K classes or categories of a set.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from fastneg.config import UnfitError
from fastneg.counts import counted
from fastneg.data.known_classes import told_of_numbers
from fastneg.data.labels import ABSENT, join_labels, labels_of
from fastneg.evaluation.accuracy import (
    accuracy,
    answers,
    calibration_error,
    calibration_interval,
    columns_of,
)
from fastneg.evaluation.by_class import answer_shares, class_accuracies
from fastneg.evaluation.categories import category_logits, join_categories
from fastneg.evaluation.embedding import embedding
from fastneg.evaluation.sets.cue_conflict import bias_lines, texture_labels
from fastneg.evaluation.sets.registry import Figure, SetKind, fitting
from fastneg.evaluation.sets.textures import TRUTHS, grouped, scored_labels
from fastneg.runs.predictions import save_predictions
from fastneg.runs.results import refuse_other


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


class LabelledKind(SetKind):
    """A layout of sets with labels, scored as all such sets are."""

    metrics = ("accuracy", "shape_bias", "texture")
    figures = (Figure("Test sets", "accuracy", "top1"),)

    def score(self, opened):
        return labelled_lines(opened)


def labelled_lines(opened):
    """The lines of evaluation.jsonl of a set with labels; its answers go to RUN/predictions/.

    They are accuracy, accuracy by class, features in two dimensions, and shape bias if its cues
    conflict (see `texture_labels`). The metric "texture" gives accuracy, and by class as kind
    texture_classes, against the class whose texture an image wears (see `scored_labels`).

    A set whose classes are not the classifier's but categories is scored in these: the mean
    probability over each category's classes, arg-max. If its cues conflict it gets its shape bias
    alone, unless another metric is asked for.

    Args:
        opened: `fastneg.evaluation.context.OpenedSet`.
    Raises:
        ConfigError: no labels, classes that cannot be joined to the classifier's, or no conflict of
            cues where shape bias is asked for.
    """
    known = _label(opened)
    index, head = opened.features.index, opened.context.head
    judged = Judged(opened.logits, known.labels[index], head.classes, {})
    if known.members is not None:
        counts = {category: len(numbers) for category, numbers in known.members.items()}
        logits = category_logits(opened.logits, known.members)
        judged = Judged(logits, judged.labels, list(known.members), {"categories": counts})
    lines = _accuracy_lines(opened, judged, known.truth) if known.scored else []
    if known.textures is not None:
        lines += bias_lines(opened, judged, known.textures[index])
    return lines


class _Labelling(NamedTuple):
    labels: torch.Tensor
    """(images of the file,) int64: classes or categories by number, or ABSENT."""
    textures: torch.Tensor | None
    """The same of the textures, for sets whose cues conflict."""
    members: dict | None
    """{category: numbers of its classes} where the set's classes are categories."""
    truth: str
    """What an answer is held against: a key of TRUTHS."""
    scored: bool
    """Whether accuracy is given."""


def _label(opened):
    """The `_Labelling` of a set; what it leaves out is said."""
    reader, metric, head = opened.reader, opened.metric, opened.context.head
    labels_of(reader)  # a file without labels is refused before its names are looked at
    textures = texture_labels(reader) if metric in (None, "shape_bias") else None
    if metric == "shape_bias" and textures is None:
        raise UnfitError(
            f"{reader.path} is no set of conflicting cues: an int field texture that names another "
            "class than each image's own, or file names such as cat7-elephant2.png, were expected."
        )
    categories = opened.context.categories
    foreign = head.classes and reader.classes and not set(reader.classes) & set(head.classes)
    in_categories = foreign and (textures is not None or set(reader.classes) & set(categories))
    scored = metric != "shape_bias" and not (in_categories and textures is not None)
    own, truth = scored_labels(reader, metric)
    if metric == "texture":
        opened.tell(f"scored by {TRUTHS[truth]}.")
    if scored:
        refuse_other(opened.context.run, opened.name, "truth", truth, "scored by the")
    members = None
    if in_categories:
        members, joined = join_categories(reader, head, categories)
        labels = torch.where(own == ABSENT, ABSENT, joined[own])
    else:
        labels, joined = join_labels(reader, head.classes, head.out_features, own)
        if said := told_of_numbers(reader.classes, head.classes):
            opened.tell(said)
    if textures is not None:
        textures = torch.where(textures == ABSENT, ABSENT, joined[textures])
    _tell_remaining(opened, labels, joined, textures, members)
    return _Labelling(labels, textures, members, truth, scored)


def _tell_remaining(opened, labels, joined, textures, members):
    """Say how many classes and images are left; ConfigError if no image of categories is."""
    kept, words = labels != ABSENT, "classes"
    if members is not None:
        words = "categories"
        if textures is not None:
            kept = kept & (textures != ABSENT) & (textures != labels)
        if not kept.any():
            what = "the category" if textures is None else "shape and texture"
            covered = ", ".join(members) or "none"
            raise UnfitError(
                f"{opened.reader.path} holds no image of which the classifier knows {what}: it "
                f"covers {covered}."
            )
    if members is not None or not kept.all():
        classes, images = (joined != ABSENT).sum().item(), kept.sum().item()
        opened.tell(
            f"{classes} of {len(joined)} {words} and {images} of "
            f"{counted(len(labels), 'image')} remain."
        )


def _accuracy_lines(opened, judged, truth):
    """The lines of kinds accuracy, per_class and embedding.

    Of a set of textures those of kinds accuracy and texture_classes.
    """
    logits, labels, names, in_categories = judged
    context, index = opened.context, opened.features.index
    common, arg_max = {**opened.common(), "truth": truth, **in_categories}, context.config.arg_max
    predicted, confidence = answers(logits, columns_of(labels, arg_max))
    own_names = names if in_categories else None
    save_predictions(
        context.run, opened.name, index, labels, predicted, confidence, classes=own_names
    )
    known = labels != ABSENT
    true, said = labels[known], predicted[known]
    by_class, shares = class_accuracies(said, true, names), answer_shares(said, true, names)
    first = {
        "kind": "accuracy",
        **common,
        **accuracy(logits, labels, arg_max).figures(),
        "ece": calibration_error(confidence[known], said == true),
        "ece_interval": list(calibration_interval(confidence[known], said == true)),
        "arg_max": arg_max,
        "classifier_classes": context.head.out_features,
        "most_answered": shares["most_answered"],
    }
    if in_categories:
        first["chance"] = 100.0 / (first["classes"] if arg_max == "present" else len(names))
        opened.tell(
            f"scored in {counted(len(names), 'category')}, by the mean probability over each one's "
            f"classes; chance {first['chance']:.1f}%."
        )
    for kind in fitting(opened.name, opened.path, opened.reader):
        first |= kind.fields(opened.reader, index, judged, arg_max)
    classwise = {**common, "by_class": by_class, **shares}
    if opened.metric == "texture":
        groups = grouped(opened, by_class)
        return [
            first,
            {"kind": "texture_classes", **classwise, "groups": groups, "arg_max": arg_max},
        ]
    return [
        first,
        {"kind": "per_class", **classwise, "arg_max": arg_max},
        {
            "kind": "embedding",
            **common,
            **embedding(opened.features.features[known], true, names),
        },
    ]
