"""Settings that were renamed: the earlier names and today's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RENAMED = {"augmentation": "views", "augment": "augment_with"}
"""{name in config.json and checkpoints of earlier runs, and as a flag: today's name}."""
EARLIER = {"stem": "standard", "augment_with": "dali"}
"""Fields that earlier versions did not write, or had another default: what their runs did."""


def todays_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a file, config.json or a checkpoint, under today's names."""
    return {RENAMED.get(name, name): value for name, value in dict(settings).items()}
