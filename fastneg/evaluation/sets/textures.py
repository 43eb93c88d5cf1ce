"""Sets of textures: an answer is right if it names the class of the texture.

Legend: N images.
"""

from __future__ import annotations

import torch

from fastneg.config import UnfitError
from fastneg.counts import counted
from fastneg.data.labels import ABSENT, class_count, labels_of
from fastneg.evaluation.by_class import group_accuracies
from fastneg.evaluation.sets.cue_conflict import texture_labels

TRUTHS = {
    "label": "the labels, as a set of textures in folders of classes",
    "texture field": "the textures that its int field texture names",
    "file names": "the textures that its file names tell",
}
"""What the words of `scored_labels` mean."""


def scored_labels(reader, metric=None):
    """What each image should be called, and where that stands.

    That is the label, word "label". With the metric "texture" it is the class whose texture the
    image wears, where the set tells it: by an int field `texture`, word "texture field", or by file
    names such as cat7-elephant2.png, word "file names". A set that does not is one of textures in
    folders named for the class that they are of.

    Returns:
        ((N,) int64 numbered as the file's classes, -1 for no class; the word).
    Raises:
        ConfigError: no labels, or an int field `texture` that names no class.
    """
    labels = labels_of(reader)
    if metric != "texture":
        return labels, "label"
    if "texture" in reader.ints:
        textures, known = (
            torch.as_tensor(reader.ints["texture"], dtype=torch.int64),
            class_count(reader),
        )
        textures = torch.where((textures >= 0) & (textures < known), textures, ABSENT)
        if (textures == ABSENT).all():
            raise UnfitError(
                f"{reader.path} has an int field texture, but no number there is of one of its "
                f"{counted(known, 'class')}."
            )
        return textures, "texture field"
    named = texture_labels(reader)
    return (labels, "label") if named is None else (named, "file names")


def grouped(opened, by_class):
    """The accuracies of classes summed up by --groups; None without groups.

    What the groups miss is said.

    Args:
        by_class: as of `class_accuracies`.
    """
    groups = opened.context.groups
    if groups is None:
        return None
    named = {member for members in groups.values() for member in members}
    absent, ungrouped = named - set(by_class), set(by_class) - named
    for what, left in (
        ("named in groups have no image here", absent),
        ("here are in no group", ungrouped),
    ):
        if left:
            some = ", ".join(sorted(left)[:3]) + (", …" if len(left) > 3 else "")
            opened.tell(f"{counted(len(left), 'class')} {what}: {some}.")
    return group_accuracies(by_class, groups)
