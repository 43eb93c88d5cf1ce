"""Folders of corruptions with any names: PATH/<corruption>/<severity>/<class>/, or ….beton.

So are ImageNet-3DCC (Kar et al. 2022, arXiv:2203.01441) and ImageNet-C-bar (Mintun et al. 2021,
arXiv:2102.11273).
"""

from __future__ import annotations

import re
from pathlib import Path

from fastneg.data.encode.class_folders import list_whole
from fastneg.evaluation.sets.corrupted import CorruptedKind

SEVERITY = re.compile(r"\d+(\.\d+)?")


class CorruptionTree(CorruptedKind):
    """A folder of corruptions that are not ImageNet-C's."""

    def root(self, path):
        return tree_root(path)

    def places(self, root):
        return find_tree(root)


def find_tree(path):
    """{(corruption, severity): folder of classes, or .beton file} of a tree, whatever the names.

    A severity is a number, kept as it is written; the corruptions may stand in folders of families.
    {} where a path holds no such tree.
    """
    found = {}
    for folder in _folders(path):
        for place in [folder] if _severities(folder) else _folders(folder):
            severities = _severities(place)
            taken = any((place.name, severity) in found for severity in severities)
            name = f"{folder.name}/{place.name}" if taken else place.name
            found |= {(name, severity): own for severity, own in severities.items()}
    return found


def tree_root(path):
    """The folder that holds corruptions, at or below a path; None if there is none.

    It is looked for through folders that hold nothing but another.
    """
    path = Path(path)
    while path.is_dir():
        folders = _folders(path)
        if len(folders) != 1 or _severities(folders[0]):
            return path if find_tree(path) else None
        path = folders[0]
    return None


def _folders(path):
    return [Path(path) / name for name in list_whole(path).folders]


def _severities(folder):
    """{severity: place} of a corruption's folder, the lowest first."""
    found = {}
    listing = list_whole(folder)
    for name in listing.files:
        stem = name.removesuffix(".beton")
        if SEVERITY.fullmatch(stem) and stem != name:
            found[stem] = Path(folder) / name
    for name in listing.folders:
        if SEVERITY.fullmatch(name) and _folders(Path(folder) / name):
            found.setdefault(name, Path(folder) / name)
    return dict(sorted(found.items(), key=lambda item: float(item[0])))
