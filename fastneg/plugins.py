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
import zlib
from pathlib import Path
from types import ModuleType

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
        target = os.path.expanduser(target)
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
    module_of_file(Path(target))


def module_of_file(path: Path) -> ModuleType:
    """The module of a file NAME.py, which is run once."""
    path = path.resolve()
    name = path.stem
    if name in sys.modules and getattr(sys.modules[name], "__file__", None) != str(path):
        name = f"{name}_{zlib.crc32(bytes(path)):08x}"  # another module has this one
    if name in sys.modules:
        return sys.modules[name]
    # So that the file finds its neighbours, its network among them.
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no file of Python")
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
