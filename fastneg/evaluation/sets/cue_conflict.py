"""Sets of conflicting cues: the shape of one class and the texture of another.

Source: Geirhos et al. 2019, arXiv:1811.12231. Legend: N images.
"""

from __future__ import annotations

import re

import torch

from fastneg.counts import counted
from fastneg.data.labels import ABSENT, class_count
from fastneg.evaluation.sets.categories_16 import CATEGORIES_16
from fastneg.evaluation.sets.registry import SetKind
from fastneg.evaluation.shape_bias import shape_bias
from fastneg.evaluation.view import square_side, whole_view

NAME = re.compile(r"(?:.*/)?([^/]+?)\d*-([^/]+?)\d*(?:\.\w+)?")
"""A name that tells shape and texture: cat7-elephant2.png."""


class CueConflict(SetKind):
    """A set whose file names tell conflicting cues, with square images of one size.

    One with an int field `texture` is of our own making, as the stencils are: it is shown as its
    kin.
    """

    def fits(self, name, path, reader):
        named = reader.labels is not None and "texture" not in reader.ints
        return named and texture_labels(reader) is not None

    def view(self, reader, config):
        return None if square_side(reader) is None else whole_view(config)


def texture_labels(reader):
    """The class whose texture each image wears, numbered as the file's classes.

    None for a set that is not one of conflicting cues.

    A cue-conflict set tells the texture of every image, each texture is that of a class, and it is
    not the image's own class. An int field `texture` counts only if that holds for all images: a
    set in which some wear their own (such as the in-domain set of stencils) asks another question,
    and gets no shape bias. A texture of the 16 categories that is no class of the file is ABSENT.
    Sets that tell it by file names such as cat7-elephant2.png are of conflicting cues, and images
    of which both agree, of which the published set has 80, are left out of the count by
    `shape_bias`.
    """
    labels = torch.as_tensor(reader.labels, dtype=torch.int64)
    by_name = "texture" not in reader.ints
    textures = (
        _named_textures(reader)
        if by_name
        else torch.as_tensor(reader.ints["texture"], dtype=torch.int64)
    )
    if textures is None or len(textures) == 0:
        return None
    named, other = (textures >= 0) & (textures < class_count(reader)), textures != labels
    if by_name:  # a copy of some folders of a set: textures of the others are known as such
        return textures if bool((other & named).any()) else None
    return textures if bool(named.all()) and bool(other.all()) else None


def _named_textures(reader):
    if reader.names is None or reader.classes is None:
        return None
    position = {name: number for number, name in enumerate(reader.classes)}
    found = []
    for name in reader.names:
        match = NAME.fullmatch(name)
        if match is None or match.group(1) not in position:
            return None
        if match.group(2) not in position and match.group(2) not in CATEGORIES_16:
            return None
        found.append(position.get(match.group(2), ABSENT))
    return torch.tensor(found, dtype=torch.int64)


def bias_lines(opened, judged, textures):
    """The line of kind shape_bias, in a list.

    It is empty where the classifier knows shape and texture of no image of conflicting cues.

    Args:
        opened: `fastneg.evaluation.context.OpenedSet`.
        judged: `fastneg.evaluation.sets.labelled.Judged` of its N images.
        textures: (N,) int64, numbered as `judged.labels`, or ABSENT.
    """
    both = (judged.labels != ABSENT) & (textures != ABSENT)
    if not (both & (textures != judged.labels)).any():
        opened.tell(
            "no shape bias: there is no image of which the classifier knows shape and texture."
        )
        return []
    names = judged.names or range(judged.logits.shape[1])
    each = {str(name): [number] for number, name in enumerate(names)}
    bias = shape_bias(judged.logits[both].softmax(1), judged.labels[both], textures[both], each)
    agree = (
        f"; {bias.without_conflict} more have none and do not count"
        if bias.without_conflict
        else ""
    )
    opened.tell(
        f"coverage is over the {counted(bias.images, 'image')} with a conflict of cues{agree}; by "
        f"chance {bias.chance_coverage:.1f}%."
    )
    return [{"kind": "shape_bias", **opened.common(), **bias.figures(), **judged.fields}]
