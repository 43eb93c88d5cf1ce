"""Modules from outside the package that add to it: plugins.

A plugin registers what it brings when it is imported: `fastneg.methods.register`,
`fastneg.negatives.register`, `fastneg.evaluation.sets.register` and the like. Python code imports
it. The command line finds it in FASTNEG_PLUGINS, or as an entry point of an installed package.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path

from fastneg.options import ConfigError

VARIABLE = "FASTNEG_PLUGINS"
"""Modules by name (my_package.my_method) or file (my_method.py), with commas between them."""
GROUP = "fastneg.plugins"
"""The group of entry points, each of which names a module."""
_loaded = set()


def load() -> None:
    """Import all plugins that were not imported yet.

    Looking for entry points takes a tenth of a second, so this is called only where a name is not
    known, or all are to be listed.

    Raises:
        ConfigError: one cannot be imported.
    """
    load_named()
    if GROUP in _loaded:
        return
    _loaded.add(GROUP)
    from importlib.metadata import entry_points

    for point in entry_points(group=GROUP):
        _load(point.load, f"The plugin {point.name} ({point.value})")


def load_named() -> None:
    """Import the plugins that FASTNEG_PLUGINS names; ConfigError where one cannot be imported."""
    for target in map(str.strip, os.environ.get(VARIABLE, "").split(",")):
        if target and target not in _loaded:
            _load(lambda target=target: _import(target), f"{VARIABLE} names {target}, which")
            _loaded.add(target)


def _load(do, what):
    try:
        do()
    except Exception as error:
        raise ConfigError(f"{what} cannot be imported: {type(error).__name__}: {error}.") from error


def _import(target):
    if not target.endswith(".py"):
        importlib.import_module(target)
        return
    path = Path(target).resolve()
    # So that the file finds its neighbours, its network among them.
    sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    sys.modules[path.stem] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
