"""Labels of a file, and its classes matched to those of another file or of a classifier.

Legend: N images, C classes of the classifier.
"""

from __future__ import annotations

import torch

from fastneg.config import UnfitError
from fastneg.counts import counted
from fastneg.data.class_names import alike, composed
from fastneg.data.known_classes import is_number, numbered_names

ABSENT = -1
"""The label of an image of which the classifier does not know the class."""


def labels_of(reader):
    """(N,) int64 labels of a `BetonReader`.

    Raises:
        ConfigError: the file has none, or a label that its class list does not cover.
    """
    if reader.labels is None:
        fields = ", ".join(f"{name} ({kind})" for name, kind in reader.kinds.items())
        raise UnfitError(
            f"{reader.path} has no labels: an int field label was expected among its fields, "
            f"{fields}."
        )
    labels = torch.as_tensor(reader.labels, dtype=torch.int64)
    if len(labels) == 0:
        raise UnfitError(f"{reader.path} holds no images.")
    known = class_count(reader)
    if labels.min() < 0 or labels.max() >= known:
        raise UnfitError(
            f"{reader.path} has labels from {labels.min()} to {labels.max()}, but "
            f"{counted(known, 'class')}: 0 to {known - 1} were expected."
        )
    return labels


def class_count(reader):
    """Classes of a file: those that its class list names, or the highest label plus one."""
    return len(reader.classes) if reader.classes is not None else int(reader.labels.max()) + 1


def class_map(reader, classes, count):
    """The classifier's number of each class of a file.

    Classes are matched by name, in any Unicode form. If the file or the classifier has no names,
    they are matched by number, which needs equal counts. Names that are numbers are positions in
    the order of the collection of the classifier's classes (see `numbered_names`).

    Args:
        reader: `BetonReader` with labels.
        classes: list of the classifier's class names, or None.
        count: C.
    Returns:
        (classes of the file,) int64: the classifier's class, or ABSENT.
    Raises:
        UnfitError: names are missing and the counts differ, a name comes twice, not one class is
            known, or one is known but for its case, blanks, _ or -.
    """
    own = class_count(reader)
    if classes is None or reader.classes is None:
        if own != count:
            raise UnfitError(
                f"{reader.path} has {counted(own, 'class')}, the classifier has {count}, and they "
                "cannot be matched by name, because "
                f"{'the classifier has' if classes is None else reader.path + '.json gives'} no "
                "class names: encode the files with fastneg encode, which writes the names "
                "beside them."
            )
        return torch.arange(count)
    _refuse_repeated(reader.path, reader.classes)
    _refuse_repeated("the classifier", classes)
    position = {composed(name): number for number, name in enumerate(classes)}
    position |= {name: number for number, name in enumerate(classes)}
    _, names = numbered_names(reader.classes, classes) or (None, reader.classes)
    places = [position.get(name, position.get(composed(name), ABSENT)) for name in names]
    joined = torch.tensor(places, dtype=torch.int64)
    free = [classes[place] for place in {*range(count)} - {*places}]
    unknown = [name for name, place in zip(names, places, strict=True) if place == ABSENT]
    _refuse_unknown(reader, classes, free, unknown)
    return joined


def _refuse_unknown(reader, classes, free, unknown):
    """UnfitError where no class of a file is known, or one is known by another spelling.

    Args:
        free: classes of the classifier that are none of the file's.
        unknown: classes of the file that are none of the classifier's.
    """
    if pairs := alike(unknown, free):
        other, name = pairs[0]
        raise UnfitError(
            f"{reader.path} names the class {name!r} and the classifier {other!r}: are they one "
            "class? Write them alike, or rename one of them."
        )
    if len(unknown) == len(reader.classes):
        if all(map(is_number, reader.classes)):
            raise UnfitError(
                f"{reader.path} names its classes by numbers ({_some(reader.classes)}), but the "
                f"classifier's classes ({_some(classes)}) are not from a collection of as many "
                "classes in a known order (ImageNet, CIFAR-10, CIFAR-100): rename the folders to "
                "the classifier's classes."
            )
        raise UnfitError(
            f"{reader.path} and the classifier share no class: it names {_some(reader.classes)}; "
            f"the classifier knows {_some(classes)}."
        )


def _refuse_repeated(where, names):
    if len(set(names)) < len(names):
        twice = min(name for name in names if names.count(name) > 1)
        raise UnfitError(
            f"{where} has the class name {twice!r} more than once: classes are matched by name."
        )


def join_labels(reader, classes, count, own=None):
    """(N,) labels of a file in the classifier's numbering (ABSENT where its class is not known),
    and the `class_map` that gave them.

    Args:
        own: (N,) int64, other labels in the file's numbering, or ABSENT; None: those of the file.
    Raises:
        ConfigError: no labels, no common classes, or no image of a common class.
    """
    own = labels_of(reader) if own is None else own
    joined = class_map(reader, classes, count)
    labels = torch.where(own == ABSENT, ABSENT, joined[own])
    if (labels == ABSENT).all():
        raise UnfitError(
            f"{reader.path} holds {counted(len(labels), 'image')}, but none of a class that the "
            "classifier knows."
        )
    return labels, joined


def _some(names):
    return ", ".join(map(str, names[:3])) + (", …" if len(names) > 3 else "")
