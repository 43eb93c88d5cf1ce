"""--config FILE: settings of a command from a YAML, TOML or JSON file.

A run's own config.json is such a file. Flags win over it.
"""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path
from typing import Any

from fastneg.config import ConfigError
from fastneg.config.pretrain import todays_names

READERS = {".json": "json", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml"}
YAML_VALUES = (
    ("null", r"^(~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?(0|[1-9][0-9_]*)$", list("-+0123456789")),
    (
        "float",
        r"^[-+]?(\.[0-9]+|[0-9][0-9_]*\.[0-9_]*|[0-9][0-9_]*(?=[eE]))([eE][-+]?[0-9]+)?$",
        list("-+.0123456789"),
    ),
    ("merge", r"^<<$", ["<"]),
)
"""(tag, pattern, first characters) of the values of YAML that are no texts: those of YAML 1.2, and
True as Python writes it."""


def read_settings(path: str) -> dict[str, Any]:
    """{field: value} of a file, under today's names.

    Raises:
        ConfigError: its name ends in no known way, it cannot be read, holds no settings, or one of
            them twice.
    """
    kind = READERS.get(Path(path).suffix.lower())
    if kind is None:
        raise ConfigError(f"--config is {path}: a file NAME{', NAME'.join(READERS)} was expected.")
    try:
        # A file of another system's editor may begin with a byte order mark.
        found = _parsed(Path(path).read_text(encoding="utf-8-sig"), kind)
    except OSError as error:
        raise ConfigError(f"--config {path} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise ConfigError(f"--config {path} cannot be read: {str(error).rstrip('.')}.") from error
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise ConfigError(f"--config {path} holds no settings: lines NAME: VALUE were expected.")
    settings = {}
    for written, value in found.items():
        ((name, _),) = todays_names({written.replace("-", "_"): value}).items()
        if name in settings:
            raise ConfigError(f"--config {path} has {name} twice: one of them was expected.")
        settings[name] = value
    return settings


def _parsed(text, kind):
    if kind == "json":
        return json.loads(text, object_pairs_hook=_once)
    if kind == "toml":
        try:
            import tomllib
        except ImportError:  # Python 3.10
            raise ConfigError("--config FILE.toml needs Python 3.11: take YAML or JSON.") from None
        found = tomllib.loads(text)
        dates = (datetime.date, datetime.time)
        return {n: v.isoformat() if isinstance(v, dates) else v for n, v in found.items()}
    try:
        import yaml
    except ImportError:
        raise ConfigError(
            "--config FILE.yaml needs the package pyyaml: pip install pyyaml, or take JSON."
        ) from None
    try:
        return yaml.load(text, _yaml_loader(yaml))  # which derives from SafeLoader
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def _once(pairs):
    """A dict of pairs; ValueError where a name comes twice."""
    found = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"it has {name} twice, one of them was expected")
        found[name] = value
    return found


def _yaml_loader(yaml):
    """A safe loader that takes a value as the command line does.

    PyYAML reads YAML 1.1, in which 1e-3 is a text, on is True, 1:30 is 90, and a date is no text.
    """

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node, deep=False):
            names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            _once((name, None) for name in names if name != "<<")
            return super().construct_mapping(node, deep)

    Loader.yaml_implicit_resolvers = {}
    for tag, pattern, first in YAML_VALUES:
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), first)
    return Loader
