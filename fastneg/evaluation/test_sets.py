"""Test sets by name and path, and which of them set shape against texture. Legend: N images."""

from __future__ import annotations

import re

import torch

from fastneg.config import ConfigError
from fastneg.data.labels import class_count


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
