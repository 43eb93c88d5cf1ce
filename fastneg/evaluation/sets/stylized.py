"""Stylized sets: photographs in the style of paintings (Stylized-ImageNet, or model-vs-human's).

Source: Geirhos et al. 2019, arXiv:1811.12231.
"""

from __future__ import annotations

import re
from pathlib import Path

from fastneg.evaluation.sets.registry import SetKind
from fastneg.evaluation.view import whole_if_published

NAME = re.compile(r"styli[sz]ed|^sin\b", re.IGNORECASE)
"""How such a set is called: by its name, or by one of the last two parts of its path."""


class Stylized(SetKind):
    """A set that is called stylized, or SIN."""

    def fits(self, name, path, reader):
        return any(NAME.search(word) for word in (name, *Path(path).parts[-2:]))

    def view(self, reader, config):
        return whole_if_published(reader, config)
