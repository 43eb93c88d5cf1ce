"""PATH.json beside a .beton file: the names of its classes and samples, and how it was made."""

from __future__ import annotations

import json
import os
from pathlib import Path

from fastneg.counts import counted
from fastneg.data.errors import BetonError
from fastneg.options import reason_of


def sidecar_path(path):
    """Where the classes and names of a .beton file are: PATH.json."""
    return Path(f"{os.fspath(path)}.json")


def sidecar_of(path):
    """The sidecar of a file, or where there is none and the file is a link, of what it links to."""
    own = sidecar_path(path)
    return (
        sidecar_path(os.path.realpath(path))
        if os.path.islink(path) and not os.path.lexists(own)
        else own
    )


def read_sidecar(path, fingerprint, count):
    """(classes, names, the rest as a dict) of the sidecar of a .beton file with `count` samples;
    (None, None, {}) if there is none.

    Raises:
        BetonError: it cannot be read, or belongs to another file.
    """
    beton, path = os.fspath(path), sidecar_of(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None, None, {}
    except (OSError, UnicodeDecodeError) as error:
        raise BetonError(
            f"{path} cannot be read: {reason_of(error)}. It belongs to {beton}: restore or remove "
            "it."
        ) from error
    try:
        info = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BetonError(
            f"{path} is not JSON: {error}. It belongs to {beton}: restore or remove it."
        ) from error
    if not isinstance(info, dict):
        raise BetonError(
            f"{path} holds a {type(info).__name__}, an object was expected: restore or remove it."
        )
    if info.pop("fingerprint", fingerprint) != fingerprint:
        raise BetonError(
            f"{path} was written with another file than {beton}, or one of them is damaged: "
            "restore or remove it."
        )
    classes, names = info.pop("classes", None), info.pop("names", None)
    for key, value in (("classes", classes), ("names", names)):
        if value is not None and not (
            isinstance(value, list) and all(isinstance(item, str) for item in value)
        ):
            raise BetonError(
                f"{path}: {key} is not a list of texts. It belongs to {beton}: restore or remove "
                "it."
            )
    if names is not None and len(names) != count:
        raise BetonError(
            f"{path} names {counted(len(names), 'sample')}, {beton} holds {count}: restore or "
            "remove it."
        )
    return classes, names, info
