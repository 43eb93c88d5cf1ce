"""A registry of classes by name: the methods, the kinds of negatives.

Both are classes whose annotated fields are options. `Registry.options` puts together what several
of them say of the same option.
"""

from __future__ import annotations

import dataclasses
import importlib
import typing
from collections.abc import Callable, Iterator, Mapping

from fastneg.options import source_docs

T = typing.TypeVar("T")
C = typing.TypeVar("C")


@dataclasses.dataclass
class Declared:
    """One option, as those who take it declare it."""

    kind: typing.Any
    """Its type."""
    bounds: Mapping[str, typing.Any]
    """As of `option`."""
    owner: type
    """The class that explains it."""
    defaults: dict[str, typing.Any]
    """{name of each who takes it: the default there}, in their order."""

    def doc(self, name: str) -> str:
        return source_docs(self.owner).get(name, "")


class Registry(Mapping[str, T]):
    """{name: one instance of the class registered under it}, in the order of registration.

    Args:
        noun: what the entries are, in messages.
        base: the class that they derive from.
        shared: a dataclass of options that several entries may take. It gives type, bounds and
            text; an entry that takes one gives its default alone.
        reserved: names that no entry may have.
    """

    def __init__(
        self,
        noun: str,
        base: type[T],
        shared: type | None = None,
        reserved: tuple[str, ...] = (),
    ) -> None:
        self._noun, self._base, self._shared = noun, base, shared
        self._reserved = reserved
        self._entries: dict[str, T] = {}
        self._options: dict[str, Declared] = {}
        self.watchers: list[Callable[[], None]] = []
        """Functions that are called after a change. Where one raises, the change is undone."""

    def __getitem__(self, name: str) -> T:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def register(self, cls: type[C]) -> type[C]:
        """Add a class under its `name`. A decorator, which makes the class a frozen dataclass.

        A class replaces a registered one with the same module and name, so that a notebook cell can
        run again.

        Raises:
            TypeError: it does not derive from the base. ValueError: its name is empty or taken, or
                one of its options contradicts another one.
        """
        if not (isinstance(cls, type) and issubclass(cls, self._base)):
            raise TypeError(
                f"{cls!r} is no {self._noun}: a class that derives from "
                f"{self._base.__module__}.{self._base.__name__} was expected."
            )
        name = cls.name
        if not name.isidentifier() or name in self._reserved:
            raise ValueError(
                f"{cls.__qualname__}.name is {name!r}: a word such as my_{self._noun} was expected."
            )
        there = type(self._entries[name]) if name in self._entries else None
        if there and (there.__module__, there.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(
                f"{cls.__qualname__}.name is {name!r}: {there.__module__}.{there.__qualname__} has "
                "this name already."
            )
        if "__dataclass_fields__" not in vars(cls):
            cls = dataclasses.dataclass(frozen=True)(cls)
        self._change({**self._entries, name: cls()})
        return cls

    def unregister(self, name: str) -> None:
        """Take an entry out again."""
        self._change({other: entry for other, entry in self._entries.items() if other != name})

    def _change(self, entries):
        before = self._entries, self._options
        self._entries, self._options = entries, self._declared(entries)
        try:
            for watcher in self.watchers:
                watcher()
        except Exception:
            self._entries, self._options = before
            raise

    def options(self) -> dict[str, Declared]:
        """{name: `Declared`} of all entries, in the order in which they first name them."""
        return self._options

    def _declared(self, entries):
        shared = {} if self._shared is None else self._declared_by(self._shared)
        found = {}
        for entry, contract in entries.items():
            for name, own in self._declared_by(type(contract)).items():
                known = found.get(name) or shared.get(name) or own
                if known.kind != own.kind or own.bounds not in ({}, known.bounds):
                    raise ValueError(
                        f"The option {name} of the {self._noun} {entry} is "
                        f"{_said(own)}, but {_said(known)} in {known.owner.__qualname__}: give "
                        "it the same type and no other bounds, or another name."
                    )
                default = getattr(contract, name)
                defaults = {**(found[name].defaults if name in found else {}), entry: default}
                found[name] = dataclasses.replace(known, defaults=defaults)
        return found

    @staticmethod
    def _declared_by(cls):
        kinds = typing.get_type_hints(cls)
        return {
            field.name: Declared(kinds[field.name], dict(field.metadata), cls, {})
            for field in dataclasses.fields(cls)
        }


def _said(declared):
    kind = getattr(declared.kind, "__name__", str(declared.kind))
    return " ".join([kind, *(f"{rule} {bound}" for rule, bound in declared.bounds.items())])


def imported(target: typing.Any) -> typing.Any:
    """What "package.module:name" names; anything else is given back as it is."""
    if not isinstance(target, str):
        return target
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)
