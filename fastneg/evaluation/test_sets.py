"""Test sets by name and path, their classes joined to a classifier's, and accuracy.

Legend: N images, C classes of the classifier.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch

from fastneg.config import ConfigError
from fastneg.data.labels import ABSENT, class_count, join_labels
from fastneg.evaluation.features import features_of
from fastneg.evaluation.shape_bias import shape_bias


def parse_sets(text):
    """{name: path} of "NAME=PATH[,NAME=PATH…]", in that order.

    Raises:
        ConfigError: a part is not NAME=PATH, or a name comes twice.
    """
    sets = {}
    for part in text.split(","):
        name, equals, path = (piece.strip() for piece in part.partition("="))
        if not (name and equals and path):
            raise ConfigError(f"--sets has the part {part!r}: NAME=PATH was expected, parts separated by commas.")
        if name in sets:
            raise ConfigError(f"--sets names {name!r} twice: each test set needs a name of its own.")
        sets[name] = path
    return sets


def texture_labels(reader):
    """The class whose texture each image wears, numbered as the file's classes, for cue-conflict sets; None for any other set.

    A cue-conflict set tells the texture of every image, by an int field `texture` or by file names such as cat7-elephant2.png, each
    texture is that of a class, and it is never the image's own class. A set in which some images wear their own texture (such as the
    in-domain set of stencils) asks another question, and gets no shape bias.
    """
    labels = torch.as_tensor(reader.labels, dtype=torch.int64)
    textures = _texture_field(reader)
    if textures is None or len(textures) == 0:
        return None
    named = (textures >= 0) & (textures < class_count(reader))
    return textures if bool((named & (textures != labels)).all()) else None


def _texture_field(reader):
    if "texture" in reader.ints:
        return torch.as_tensor(reader.ints["texture"], dtype=torch.int64)
    if reader.names is None or reader.classes is None:
        return None
    position = {name: number for number, name in enumerate(reader.classes)}
    found = []
    for name in reader.names:
        match = re.fullmatch(r"(?:.*/)?([^/]+?)\d*-([^/]+?)\d*(?:\.\w+)?", name)
        if match is None or match.group(1) not in position or match.group(2) not in position:
            return None
        found.append(position[match.group(2)])
    return torch.tensor(found, dtype=torch.int64)


@dataclass(frozen=True)
class Accuracy:
    top1: float
    """Percent of the images."""
    top5: float
    """Percent of the images."""
    images: int
    """Images whose class the classifier knows: the others do not count."""
    classes: int
    """Classes among them."""


def accuracy(logits, labels, arg_max="all"):
    """Top-1 and top-5 accuracy over the images whose class is known.

    Args:
        logits: (N, C), any float dtype.
        labels: (N,) int64 in the classifier's numbering, ABSENT where its class is not known.
        arg_max: "all": over all C classes; "present": over the classes that occur among the labels.
    Returns:
        Accuracy. Of equal logits the class with the lower number wins; an image with a NaN among its logits counts as wrong.
    Raises:
        ValueError: no image is left, or arg_max is another word.
    """
    if arg_max not in ("all", "present"):
        raise ValueError(f"arg_max is {arg_max!r}: all or present was expected.")
    known = labels != ABSENT
    if not known.any():
        raise ValueError(f"None of {len(labels)} images is of a class that the classifier knows: no accuracy can be given.")
    present = labels[known].unique()
    rank = rank_among(logits[known], labels[known], present if arg_max == "present" else None)
    return Accuracy(percent(rank < 1), percent(rank < 5), len(rank), len(present))


def rank_among(logits, labels, columns):
    """`rank_of` over some of the classes, sorted; None: over all."""
    return rank_of(logits, labels) if columns is None else rank_of(logits[:, columns], torch.searchsorted(columns, labels))


def rank_of(scores, labels):
    """(N,) int64: classes that come before the true one when scores (N, C) are sorted downwards; C if any score is NaN."""
    true = scores.gather(1, labels[:, None])
    before = torch.arange(scores.shape[1], device=scores.device) < labels[:, None]
    rank = ((scores > true) | ((scores == true) & before)).sum(1)
    return rank.masked_fill(scores.isnan().any(1), scores.shape[1])


def percent(hits):
    """Share of the true ones among (N,) booleans, in percent."""
    return 100.0 * hits.sum().item() / len(hits)


def evaluate_set(run, name, reader, loaded, head, *, arg_max="all", device="cpu", threads=0, report=print):
    """The lines of evaluation.jsonl for one test set: accuracy, and shape bias if its cues conflict (see `texture_labels`).

    Args:
        run: the run folder, where features are kept.
        name: of the set.
        reader: its open `BetonReader`.
        loaded: `LoadedRun` on `device`.
        head: LinearClassifier.
        report: called with lines for a person.
    Returns:
        list of dicts.
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
    result = accuracy(logits, labels, arg_max)
    common = {"set": name, "path": str(reader.path), "checkpoint": loaded.checkpoint}
    counts = {"images": result.images, "classes": result.classes}
    rows = [{"kind": "accuracy", **common, "top1": result.top1, "top5": result.top5, **counts, "arg_max": arg_max}]
    textures = texture_labels(reader)
    if textures is not None:
        textures = joined[textures]
        both = known & (textures != ABSENT)
        if both.any():
            categories = {str(name): [number] for number, name in enumerate(head.classes or range(head.out_features))}
            bias = shape_bias(logits[both].softmax(1), labels[both], textures[both], categories)
            figures = {"shape_bias": bias.shape_bias, "coverage": bias.coverage, "images": bias.images, "by_category": bias.by_category}
            rows.append({"kind": "shape_bias", **common, **figures})
        else:
            report(f"{name}: no shape bias, because the classifier knows shape and texture of not one image.")
    return rows
