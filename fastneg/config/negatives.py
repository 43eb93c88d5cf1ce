"""The non-semantic negatives: which kinds, how many, how much each weighs, and their options."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeVar

from fastneg.config.assemble import Assembled
from fastneg.config.base import Config
from fastneg.negatives import NEGATIVES
from fastneg.options import ConfigError, check_bounds, option

T = TypeVar("T", bound=Config)
ALPHA = {"at_least": 0.0, "below": math.inf}


def kinds_text(value: Any) -> Any:
    """Kinds of negatives as one text: "[patch, texture]" and a list mean "patch,texture"."""
    if isinstance(value, (list, tuple)) and all(isinstance(kind, str) for kind in value):
        value = ",".join(value)
    if not isinstance(value, str):
        return value
    inner = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    return ",".join(kind.strip() for kind in inner.split(","))


@dataclass(frozen=True)
class NegativesPart(Config):
    negatives: str = "patch"
    negatives_per_query: int = option(1, at_least=1, at_most=64)
    """Negatives of each kind for each query, M."""
    alpha: float | str = 2.0
    """Scale of the similarity to the non-semantic negatives: alpha q·t / T inside the exponent,
    alpha 2 p·t in BYOL's sum. One number, or one for each kind, such as patch=2,texture=1."""

    def negative_kinds(self) -> tuple[str, ...]:
        """The kinds of non-semantic negatives, in order; empty for none."""
        return () if self.negatives == "none" else tuple(self.negatives.split(","))

    def alphas(self) -> tuple[float, ...]:
        """The scale of each non-semantic negative of a query, M for each kind in turn."""
        each = self._alpha_of()
        return tuple(
            each[kind] for kind in self.negative_kinds() for _ in range(self.negatives_per_query)
        )

    def without_effect(self) -> set[str]:
        """Fields of the negatives that do nothing under this config: a command line that gives one
        is refused."""
        kinds, options = self.negative_kinds(), NEGATIVES.options()
        idle = {
            name
            for name, declared in options.items()
            if not _optional(declared) and not set(kinds) & set(declared.defaults)
        }
        return idle | (set() if kinds else {"alpha", "negatives_per_query"})

    def replace(self: T, **changes: Any) -> T:
        """As `Config.replace`; where the negatives change, the options of kinds that are no longer
        named go, if such an option may be missing."""
        if "negatives" in changes:
            changes["negatives"] = kinds_text(changes["negatives"])
            kinds = set(str(changes["negatives"]).split(","))
            gone = {
                name: None
                for name, declared in NEGATIVES.options().items()
                if _optional(declared) and not kinds & set(declared.defaults)
            }
            changes = {**gone, **changes}
        return super().replace(**changes)

    def _check(self):
        kinds = self.negative_kinds()
        self._check_kinds(kinds)
        if not isinstance(self.alpha, str):
            check_bounds("alpha", self.alpha, ALPHA)
        for kind, alpha in self._alpha_of().items():
            check_bounds(f"alpha of {kind}", alpha, ALPHA)
        for negative in NEGATIVES.values():
            for name, value in negative.defaults(self).items():
                object.__setattr__(self, name, value)
            negative.check_options(self)
        for name, declared in NEGATIVES.options().items():
            value, takers = getattr(self, name), set(declared.defaults)
            if _optional(declared) and value is not None and not takers & set(kinds):
                raise ConfigError(
                    f"--{name} is {value!r}: it has an effect with {' or '.join(declared.defaults)}"
                    " among --negatives only."
                )
        for kind in kinds:
            for name, value in NEGATIVES[kind].settle(self).items():
                object.__setattr__(self, name, value)
            NEGATIVES[kind].check(self)

    def _check_kinds(self, kinds):
        if len(set(kinds)) < len(kinds) or not set(kinds) <= set(NEGATIVES):
            known = ", ".join(("none", *NEGATIVES))
            raise ConfigError(
                f"--negatives is {self.negatives!r}: one of {known}, or several without none, "
                "each once, was expected."
            )
        for kind in kinds:
            if NEGATIVES[kind].needs_another_image and self.batch_size < 2:
                raise ConfigError(
                    f"--batch_size is {self.batch_size}: {kind} needs another image in the batch."
                )

    def _alpha_of(self):
        kinds = self.negative_kinds()
        if not isinstance(self.alpha, str):
            return dict.fromkeys(kinds, self.alpha)
        wrong = (
            f"--alpha is {self.alpha!r}: a number of at least 0, or one for each kind of "
            f"--negatives {self.negatives}"
        )
        try:
            pairs = [
                (name, float(value))
                for name, value in (entry.split("=") for entry in self.alpha.split(","))
            ]
        except ValueError:
            raise ConfigError(f"{wrong}, such as patch=2,texture=1, was expected.") from None
        if sorted(name for name, _ in pairs) != sorted(kinds):
            raise ConfigError(f"{wrong}, each named once, was expected.")
        return dict(pairs)


def negatives_fields():
    """{name: `Assembled`} of --negatives and of the options of the kinds."""
    fields = {"negatives": Assembled(str, "patch", {}, _about)}
    for name, declared in NEGATIVES.options().items():
        default, *others = dict.fromkeys(declared.defaults.values())
        if others:
            raise ValueError(
                f"The option {name} has the defaults {declared.defaults}: kinds that share an "
                "option need the same one."
            )
        doc = lambda name=name, declared=declared: declared.doc(name)
        fields[name] = Assembled(declared.kind, default, declared.bounds, doc)
    return fields


def _optional(declared):
    """Whether the option is None, or must be, where its kind is not named."""
    return None in declared.defaults.values()


def _about():
    kinds = ", ".join(f"{name} ({negative.about})" for name, negative in NEGATIVES.items())
    return (
        f"Non-semantic negatives: {kinds}; several with commas, such as patch,texture; or none "
        "(the plain method)."
    )
