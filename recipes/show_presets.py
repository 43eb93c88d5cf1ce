"""fastneg presets."""

from __future__ import annotations

import inspect

from fastneg.config import PretrainConfig, flag_text
from fastneg.recipes.presets import PRESETS


def run_presets(config):
    """Print each preset with the settings in which it differs from the defaults."""
    defaults = PretrainConfig().as_dict()
    for name, preset in PRESETS.items():
        print(f"{name}\n    {inspect.getdoc(preset)}")
        settings = preset().as_dict()
        differing = {field: value for field, value in settings.items() if value != defaults[field]}
        shown = settings if config.all else differing
        print("    " + (_flags(shown) or "(the defaults)"))
    given = {field: value for field, value in defaults.items() if value not in ("", None)}
    print("\nThe defaults: " + _flags(given))
    return 0


def _flags(settings):
    return " ".join(f"--{field} {flag_text(value)}" for field, value in settings.items())
