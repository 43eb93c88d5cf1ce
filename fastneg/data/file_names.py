"""Several files named by one text: a comma list of paths, globs and number ranges in braces."""

from __future__ import annotations

import fnmatch
import glob
import itertools
import math
import os
import re

from fastneg.data.remote import expand_remote, is_remote
from fastneg.options import ConfigError

# Not by the package braceexpand: a name that holds a single brace is an error to it, a range that
# runs backwards is counted down (here it names nothing, which is told), {1..010} is filled up to
# three digits (here the first number says how many), and reading a .beton file would need one more
# package than torch and NumPy.
RANGE = re.compile(r"\{(\d{1,18})\.\.(\d{1,18})\}")
MOST_FILES = 1_000_000
"""That the ranges of a part may name: a slip of the finger shall not fill the memory."""


def split_names(spec):
    """[(part of a comma list, the paths it names)].

    A part names itself, the matches of a glob sorted by name (maybe none), or one path for each
    number of {000..146}, as WebDataset writes it. A part that is the path of a file is taken as it
    is. Of a URL * is a glob, and nothing else.

    Raises:
        ConfigError: a range of more than a million numbers.
    """
    return [(part, _paths(part)) for part in map(str.strip, spec.split(","))]


def _numbered(part):
    """The texts that the ranges in braces of a part stand for."""
    pieces = RANGE.split(part)  # text, first, last, text, …
    count = math.prod(
        max(0, int(last) - int(first) + 1)
        for first, last in zip(pieces[1::3], pieces[2::3], strict=True)
    )
    if count > MOST_FILES:
        raise ConfigError(f"{part} names {count:,} files: at most {MOST_FILES:,} were expected.")
    numbers = [
        [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]
        for first, last in zip(pieces[1::3], pieces[2::3], strict=True)
    ]
    for chosen in itertools.product(*numbers):
        yield "".join(
            text + number for text, number in zip(pieces[::3], (*chosen, ""), strict=True)
        )


def twice(paths):
    """The first of the paths that names the same file as one before it, or None."""
    seen = set()
    for path in paths:
        if (real := os.path.realpath(path)) in seen:
            return path
        seen.add(real)
    return None


def _paths(part):
    if is_remote(part):
        return [url for each in _numbered(part) for url in expand_remote(each)]
    if os.path.exists(part):
        return [part]
    paths = []
    for path in _numbered(part):
        paths += (
            sorted(_matches(path)) if glob.has_magic(path) and not os.path.exists(path) else [path]
        )
    return paths


def _matches(pattern):
    """What `glob.glob` finds. But a folder that cannot be read is an OSError, not an empty one."""
    folder, base = os.path.split(pattern)
    found = []
    for each in _matches(folder) if glob.has_magic(folder) else [folder]:
        if not glob.has_magic(base):
            names = [base] if os.path.lexists(os.path.join(each, base)) else []
        elif os.path.isdir(each or "."):
            names = fnmatch.filter(os.listdir(each or "."), base)
            names = [name for name in names if base.startswith(".") or not name.startswith(".")]
        else:
            names = []
        found += [os.path.join(each, name) for name in names]
    return found


def readable(name):
    """A file's name as text that every encoding takes.

    Bytes of it that are no UTF-8 become \\udc80 to \\udcff: Python keeps them as surrogates, which
    neither JSON nor a terminal takes.
    """
    return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode()
