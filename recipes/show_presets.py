"""fastneg presets."""

from __future__ import annotations

import dataclasses
import inspect

from fastneg.config import PretrainConfig
from fastneg.recipes.presets import PRESETS


def run_presets(config):
    """Print each preset with the settings in which it differs from the defaults."""
    defaults = PretrainConfig().as_dict()
    for name, preset in PRESETS.items():
        print(f"{name}\n    {inspect.getdoc(preset)}")
        settings = dataclasses.asdict(preset())
        differing = {field: value for field, value in settings.items() if value != defaults[field]}
        shown = settings if config.all else differing
        print("    " + (" ".join(f"--{field} {value}" for field, value in shown.items()) or "(the defaults)"))
    print("\nThe defaults: " + " ".join(f"--{field} {value}" for field, value in defaults.items() if value not in ("", None)))
    return 0
