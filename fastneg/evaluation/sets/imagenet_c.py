"""ImageNet-C: PATH/<corruption>/<1-5>/<class>/*.JPEG, or PATH/<corruption>/<1-5>.beton.

The archives are named for families (noise, blur, weather, digital, extra), which some copies keep
as folders. Source: Hendrycks and Dietterich 2019, arXiv:1903.12261.
"""

from __future__ import annotations

from pathlib import Path

from fastneg.evaluation.corruptions import CORRUPTIONS, FAMILIES, SEVERITIES
from fastneg.evaluation.sets.corrupted import CorruptedKind, shown
from fastneg.evaluation.sets.corruption_tree import find_tree, tree_root
from fastneg.evaluation.view import WHOLE


class ImageNetC(CorruptedKind):
    """A folder that holds a severity of some corruption of ImageNet-C, and perhaps others."""

    def root(self, path):
        for root in (path, tree_root(path)):
            if root is not None and is_imagenet_c(root):
                return root
        return None

    def published(self, root):
        found = {
            (name, severity): _cell(root, name, severity)
            for name in CORRUPTIONS
            for severity in SEVERITIES
        }
        return {cell: place for cell, place in found.items() if place is not None}

    def places(self, root):
        return find_tree(root)

    def source(self, root, view, config):
        how = "central crop of" if view.resize == WHOLE else shown(view)
        return f"files of ImageNet-C, {how} {config.image_size} px"


def is_imagenet_c(path):
    """Whether a path is a folder that holds a severity of some corruption."""
    return Path(path).is_dir() and any(
        _cell(path, name, severity) for name in CORRUPTIONS for severity in SEVERITIES
    )


def _cell(path, name, severity):
    """The folder or file of a corruption and severity; None if it is not there."""
    for root in (Path(path), *(Path(path) / family for family in FAMILIES)):
        beton, classes = root / name / f"{severity}.beton", root / name / str(severity)
        if beton.exists() or classes.is_dir():
            return beton if beton.exists() else classes
    return None
