"""--config FILE: settings of a command in a file, YAML, TOML or JSON.

A run's own config.json is such a file. Flags win over it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fastneg.config import ConfigError
from fastneg.config.renamed import todays_names

READERS = {".json": "json", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml"}


def read_settings(path: str) -> dict[str, Any]:
    """{field: value} of a file, under today's names.

    Raises:
        ConfigError: its name ends in no known way, it cannot be read, or holds no settings.
    """
    kind = READERS.get(Path(path).suffix.lower())
    if kind is None:
        raise ConfigError(f"--config is {path}: a file NAME{', NAME'.join(READERS)} was expected.")
    try:
        found = _parsed(Path(path).read_text(encoding="utf-8"), kind)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--config {path} cannot be read: {error}.") from error
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise ConfigError(f"--config {path} holds no settings: lines NAME: VALUE were expected.")
    return todays_names({name.replace("-", "_"): value for name, value in found.items()})


def _parsed(text, kind):
    if kind == "json":
        return json.loads(text)
    if kind == "toml":
        try:
            import tomllib
        except ImportError:  # Python 3.10
            raise ConfigError("--config FILE.toml needs Python 3.11: take YAML or JSON.") from None
        return tomllib.loads(text)
    try:
        import yaml
    except ImportError:
        raise ConfigError(
            "--config FILE.yaml needs the package pyyaml: pip install pyyaml, or take JSON."
        ) from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
