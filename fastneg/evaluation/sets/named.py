"""The test sets of --sets: NAME=PATH, and the metric and view of each."""

from __future__ import annotations

import os
from typing import NamedTuple

from fastneg.evaluation.sets.registry import metrics
from fastneg.options import ConfigError, nearest


class NamedSet(NamedTuple):
    path: str
    metric: str | None = None
    """One of `registry.metrics`, or None: all that the set gives."""
    resize: int | str | None = None
    """"none": shown whole; pixels to scale the shorter side to; None: by the set's own rule (see
    `fastneg.evaluation.view`)."""


def parse_sets(text):
    """{name: NamedSet} of "NAME=PATH[:METRIC][:resize=none|PIXELS][,…]", in that order.

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
                f"separated by commas; a metric is one of {', '.join(metrics())}; :resize=none or "
                ":resize=256 may follow."
            )
        _refuse_near_metric(part, found.path)
        # a file is named for each set
        if name.replace("/", "-") in {other.replace("/", "-") for other in sets}:
            raise ConfigError(
                f"--sets names {name!r} twice (/ and - count as one): each test set needs a name "
                "of its own."
            )
        sets[name] = found
    return sets


def _refuse_near_metric(part, path):
    """ConfigError where what stands behind the last colon is no metric, and looks like one or
    stands behind a path that exists."""
    start, _, word = path.rpartition(":")
    known = metrics()
    if not start or word in known or os.path.exists(path):
        return  # a metric before another one is a part of the path
    guess = nearest(word, known)
    if guess == "." and os.path.exists(start):
        guess = f": one of {', '.join(known)} was expected."
    if guess != ".":
        raise ConfigError(f"--sets has {part!r}: there is no metric {word!r}{guess}")


def _parse_options(part, path):
    """The `NamedSet` of a path with the options behind it, in either order."""
    metric, resize = None, None
    while True:
        start, colon, option = path.rpartition(":")
        word, equals, value = option.partition("=")
        if colon and option in metrics() and metric is None:
            metric = option
        elif colon and equals and word == "resize" and resize is None:
            if value != "none" and not (value.isascii() and value.isdigit() and int(value) > 0):
                raise ConfigError(
                    f"--sets has {part!r}: resize=none, or resize=256 for a number of pixels, was "
                    "expected."
                )
            resize = value if value == "none" else int(value)
        else:
            return NamedSet(path, metric, resize)
        path = start
