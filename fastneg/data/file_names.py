"""Several files by one text: a comma list of paths, globs and number ranges in braces."""

from __future__ import annotations

import glob
import itertools
import os
import re

RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


def split_names(spec):
    """[(part of a comma list, the paths it names)]: a path itself, a glob's matches sorted by name (maybe none), or all numbers of
    {000..146}, as WebDataset writes it. A part that is the path of a file is taken as it is.
    """
    return [(part, _paths(part)) for part in map(str.strip, spec.split(","))]


def twice(paths):
    """The first of the paths that names the same file as one before it, or None."""
    seen = set()
    for path in paths:
        if (real := os.path.realpath(path)) in seen:
            return path
        seen.add(real)
    return None


def _paths(part):
    if os.path.exists(part):
        return [part]
    pieces = RANGE.split(part)  # text, first, last, text, …
    numbers = [
        [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]
        for first, last in zip(pieces[1::3], pieces[2::3], strict=True)
    ]
    paths = []
    for chosen in itertools.product(*numbers):
        path = "".join(text + number for text, number in zip(pieces[::3], (*chosen, ""), strict=True))
        paths += sorted(glob.glob(path)) if glob.has_magic(path) and not os.path.exists(path) else [path]
    return paths
