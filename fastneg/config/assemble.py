"""Config fields that come from registries: the options of methods and kinds of negatives.

The class stays the same one, so that whoever imported it sees fields that were registered later.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping

GENERATED = (
    "__init__",
    "__repr__",
    "__eq__",
    "__hash__",
    "__setattr__",
    "__delattr__",
    "__match_args__",
)
"""What `dataclass` writes into a class from its fields, and would not write twice."""


@dataclasses.dataclass(frozen=True)
class Assembled:
    """A field as `assemble` takes it."""

    kind: typing.Any
    """Its type."""
    default: typing.Any
    bounds: Mapping
    """As of `fastneg.options.option`."""
    doc: Callable[[], str]
    """Its docstring, read when it is asked for."""


def assemble(part, fields, before=None):
    """Give a frozen dataclass these fields too, in place of those that it was given before.

    Args:
        part: the class; every field that is written in it has a default.
        fields: {name: `Assembled`}. One that is written in the class replaces that, at its place.
        before: the written field before which the others stand; None: at the end.
    """
    written = vars(part).get("_written") or _own_fields(part)
    given = vars(part).get("_assembled", {})
    own = {}
    for name, field in written.items():
        if name == before:
            own |= {new: _field(one) for new, one in fields.items() if new not in written}
        own[name] = _field(fields[name]) if name in fields else field
    own |= {new: _field(one) for new, one in fields.items() if new not in own}
    for name in given:
        delattr(part, name)
    part._written, part._assembled = written, dict(fields)
    part.__annotations__ = {name: kind for name, (kind, _) in own.items()}
    for name, (_, field) in own.items():
        setattr(part, name, dataclasses.field(default=field.default, metadata=field.metadata))
    make_again(part)


def make_again(cls):
    """Let `dataclass` write the methods of a frozen dataclass anew, after a parent of it has other
    fields."""
    for name in GENERATED:
        if name in vars(cls):
            delattr(cls, name)
    dataclasses.dataclass(frozen=True)(cls)


def assembled_docs(cls):
    """{field: docstring} of the fields that `assemble` gave a class."""
    return {name: field.doc() for name, field in vars(cls).get("_assembled", {}).items()}


def _own_fields(cls):
    fields = cls.__dataclass_fields__
    return {name: (kind, fields[name]) for name, kind in inspect.get_annotations(cls).items()}


def _field(one):
    return one.kind, dataclasses.field(default=one.default, metadata=one.bounds)
