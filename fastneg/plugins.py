"""Modules from outside the package that add to it: each registers what it brings when it is
imported.

Named by the environment variable FASTNEG_PLUGINS, with commas between them, or by the entry points
"fastneg.plugins" of installed packages.
"""

from __future__ import annotations

import importlib
import os

VARIABLE = "FASTNEG_PLUGINS"
GROUP = "fastneg.plugins"

_loaded: set[str] = set()


class PluginError(ImportError):
    """A plugin that cannot be imported: names it, who asked for it, and why."""


def load_plugins() -> None:
    """Import all plugins, each once a process.

    Raises:
        PluginError: one of them cannot be imported.
    """
    for name in os.environ.get(VARIABLE, "").split(","):
        if name.strip():
            _load(name.strip(), f"{VARIABLE} names it")
    if GROUP not in _loaded:
        _loaded.add(GROUP)
        from importlib.metadata import entry_points  # reads what is installed: once is enough

        for point in entry_points(group=GROUP):
            _load(point.module, f"the installed package {point.dist and point.dist.name} names it")


def _load(name: str, asked: str) -> None:
    if name in _loaded:
        return
    _loaded.add(name)  # before the import: a plugin may ask for what others registered
    try:
        importlib.import_module(name)
    except Exception as error:
        _loaded.discard(name)
        raise PluginError(
            f"The plugin {name} cannot be imported ({asked}): {type(error).__name__}: {error}"
        ) from error
