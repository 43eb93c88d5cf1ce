"""The base class of all configs: a frozen dataclass whose fields are checked against their
annotations and bounds."""

from __future__ import annotations

import dataclasses
import json
import math
import numbers
import os
import types
import typing
from functools import cache
from typing import Any, TypeVar

from fastneg.config.assemble import assembled_docs
from fastneg.options import ConfigError, check_bounds, comma_text, source_docs

C = TypeVar("C", bound="Config")


class Config:
    """Checks each field of a dataclass against its annotation and its bounds."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.default != "" and (value == "" or (isinstance(value, tuple) and "" in value)):
                raise ConfigError(f"--{field.name} is empty: a value was expected.")
            if "listed" in field.metadata:
                value = comma_text(value, field.metadata["listed"])
            value = _fit(field.name, value, field_types(type(self))[field.name])
            if "by" in field.metadata:
                value = _governed(field.name, value, *self._governor(field))
            object.__setattr__(self, field.name, value)
            if value is not None:
                check_bounds(field.name, value, field.metadata)

    def _governor(self, field):
        name, defaults = field.metadata["by"]
        return name, getattr(self, name), defaults

    def replace(self: C, **changes: Any) -> C:
        """A copy with some fields changed, checked again.

        Fields that belong to another choice of a changed field take its defaults.
        """
        for field in dataclasses.fields(self):
            if "by" in field.metadata:
                name, value, _ = self._governor(field)
                if changes.get(name, value) != value:
                    changes.setdefault(field.name, None)
        return dataclasses.replace(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain JSON types, as a file gives them back: lists instead of tuples."""
        return json.loads(json.dumps(dataclasses.asdict(self)))


@cache
def field_types(cls: type) -> dict[str, Any]:
    """{field: its type}."""
    return typing.get_type_hints(cls)


def _fit(name, value, expected):
    """`value` as the annotated type.

    An int serves where a float is due, a float such as 1e4 where a whole number is, and a number of
    NumPy as Python's. Nothing else is converted.
    """
    if isinstance(value, numbers.Real) and not isinstance(value, (int, float)):
        value = int(value) if isinstance(value, numbers.Integral) else float(value)
    options = (
        typing.get_args(expected)
        if typing.get_origin(expected) in (typing.Union, types.UnionType)
        else (expected,)
    )
    for kind in options:
        origin = typing.get_origin(kind) or kind
        if origin is tuple and isinstance(value, (tuple, list)):
            element = typing.get_args(kind)[0]
            return tuple(_fit(name, item, element) for item in value)
        if origin is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, bool) != (origin is bool):
            continue
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"--{name} is {value}: a finite number was expected.")
        if isinstance(value, origin):
            return value
    if int in options and isinstance(value, float) and value.is_integer():
        return int(value)  # 1e4
    if str in options and isinstance(value, os.PathLike):
        return os.fspath(value)
    if bool in options and isinstance(value, str):
        raise ConfigError(f"--{name} is the text {value!r}: write --{name} True or --{name} False.")
    wanted = " or ".join("None" if kind is type(None) else _type_name(kind) for kind in options)
    raise ConfigError(f"--{name} is {value!r} ({type(value).__name__}): {wanted} was expected.")


def _type_name(kind):
    names = {int: "a whole number", float: "a number", str: "a text", bool: "True or False"}
    return names.get(
        kind, "a list" if typing.get_origin(kind) is tuple else getattr(kind, "__name__", str(kind))
    )


def _governed(name, value, governor, choice, defaults):
    """The value of a field that has an effect under some choices of another one only."""
    if choice in defaults:
        return defaults[choice] if value is None else value
    if value is not None:
        served = " or ".join(str(each) for each in defaults)
        raise ConfigError(
            f"--{name} is {value!r}, which has no effect with --{governor} {choice} (only with "
            f"{served}): leave it out."
        )
    return None


def flag_text(value: Any) -> str:
    """A value of a field as a command line takes it: several numbers with commas between them."""
    listed = isinstance(value, (list, tuple)) and len(value) > 0
    if listed and all(isinstance(each, (int, float)) for each in value):
        return ",".join(map(str, value))
    return str(value)


@cache
def field_docs(cls: type) -> dict[str, str]:
    """{field: its docstring}: of the text under each field, the one place where it is explained."""
    docs = {}
    for parent in reversed(cls.__mro__):
        if dataclasses.is_dataclass(parent):
            docs |= source_docs(parent) | assembled_docs(parent)
    return docs


def default_workers() -> int:
    """Processes or threads that this process may use."""
    return len(os.sched_getaffinity(0))
