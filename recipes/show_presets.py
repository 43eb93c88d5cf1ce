"""fastneg presets."""

from __future__ import annotations

import inspect
import textwrap

from fastneg.config import PretrainConfig, flag_text
from fastneg.recipes.presets import PRESETS


def run_presets(config):
    """Print each preset with the settings in which it differs from the defaults."""
    defaults = PretrainConfig().as_dict()
    for name, preset in PRESETS.items():
        settings = preset().as_dict()
        # None is of options that the preset's method does not take: nobody has to give it.
        differing = {
            field: value
            for field, value in settings.items()
            if value != defaults[field] and value is not None
        }
        shown = settings if config.all else differing
        flags = _flags(shown) or "(the defaults)"
        print("\n".join([name, *_paragraphs(inspect.getdoc(preset)), f"    {flags}"]))
    given = {field: value for field, value in defaults.items() if value not in ("", None)}
    print("\nThe defaults: " + _flags(given))
    return 0


def _paragraphs(text):
    """A text as indented lines of at most 100 characters, its paragraphs kept apart."""
    lines = []
    for paragraph in text.split("\n\n"):
        lines += [""] if lines else []
        lines += textwrap.wrap(paragraph, 100, initial_indent="    ", subsequent_indent="    ")
    return lines


def _flags(settings):
    return " ".join(f"--{field} {flag_text(value)}" for field, value in settings.items())
