"""Test sets by name and path, and which of them set shape against texture. Legend: N images."""

from __future__ import annotations

import re
from typing import NamedTuple

import torch

from fastneg.config import ConfigError
from fastneg.counts import counted
from fastneg.data.labels import ABSENT, class_count, labels_of
from fastneg.evaluation.categories import CATEGORIES_16

METRICS = ("accuracy", "shape_bias", "texture", "corruptions")


class TestSet(NamedTuple):
    path: str
    metric: str | None = None
    """One of METRICS, or None: all that the set gives."""
    resize: int | str | None = None
    """"none": shown whole; pixels to scale the shorter side to; None: by the set's own rule (see
    `fastneg.evaluation.sets.view`)."""


def parse_sets(text):
    """{name: TestSet} of "NAME=PATH[:METRIC][:resize=none|PIXELS][,…]", in that order.

    Raises:
        ConfigError: a part is not NAME=PATH, or a name comes twice.
    """
    sets = {}
    for part in text.split(","):
        name, equals, path = (piece.strip() for piece in part.partition("="))
        found = _parse_options(part, path)
        if not (name and equals and found.path):
            raise ConfigError(
                f"--sets has the part {part!r}: NAME=PATH or NAME=PATH:METRIC was expected, parts "
                f"separated by commas; a metric is one of {', '.join(METRICS)}; :resize=none or "
                ":resize=256 may follow."
            )
        # a file is named for each set
        if name.replace("/", "-") in {other.replace("/", "-") for other in sets}:
            raise ConfigError(
                f"--sets names {name!r} twice (/ and - count as one): each test set needs a name "
                "of its own."
            )
        sets[name] = found
    return sets


def _parse_options(part, path):
    """The `TestSet` of a path with the options behind it, in either order."""
    metric, resize = None, None
    while True:
        start, colon, option = path.rpartition(":")
        word, equals, value = option.partition("=")
        if colon and option in METRICS and metric is None:
            metric = option
        elif colon and equals and word == "resize" and resize is None:
            if value != "none" and not (value.isascii() and value.isdigit() and int(value) > 0):
                raise ConfigError(
                    f"--sets has {part!r}: resize=none, or resize=256 for a number of pixels, was "
                    "expected."
                )
            resize = value if value == "none" else int(value)
        else:
            return TestSet(path, metric, resize)
        path = start


def texture_labels(reader):
    """The class whose texture each image wears, numbered as the file's classes, for cue-conflict
    sets; None for any other set.

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


def scored_labels(reader, metric=None):
    """(what each image should be called, where that stands):

    (N,) int64 numbered as the file's classes, -1 for no class; a word.

    That is the label, word "label", but with the metric "texture" the class whose texture the image
    wears, where the set tells it: by an int field `texture`, word "texture field", or by file names
    such as cat7-elephant2.png, word "file names". A set that does not is one of textures in folders
    named for the class that they are of.

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
            raise ConfigError(
                f"{reader.path} has an int field texture, but no number there is of one of its "
                f"{counted(known, 'class')}."
            )
        return textures, "texture field"
    named = texture_labels(reader)
    return (labels, "label") if named is None else (named, "file names")


def _named_textures(reader):
    if reader.names is None or reader.classes is None:
        return None
    position = {name: number for number, name in enumerate(reader.classes)}
    found = []
    for name in reader.names:
        match = re.fullmatch(r"(?:.*/)?([^/]+?)\d*-([^/]+?)\d*(?:\.\w+)?", name)
        if match is None or match.group(1) not in position:
            return None
        if match.group(2) not in position and match.group(2) not in CATEGORIES_16:
            return None
        found.append(position.get(match.group(2), ABSENT))
    return torch.tensor(found, dtype=torch.int64)
