"""Settings of pre-training: the kinds of non-semantic negatives, their number, their weights, their
options."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeVar

from fastneg.config.assemble import Assembled
from fastneg.config.base import Config
from fastneg.methods import METHODS
from fastneg.negatives import NEGATIVES
from fastneg.options import ConfigError, check_bounds, comma_text, nearest, option

T = TypeVar("T", bound=Config)
ALPHA = 2.0
BOUNDS = {"at_least": 0.0, "below": math.inf}


@dataclass(frozen=True)
class NegativesPart(Config):
    negatives: str = "patch"
    negatives_per_query: int = option(1, at_least=1, at_most=64)
    """Negatives of each kind per query, M."""
    alpha: float | str = option(ALPHA, listed="names")
    """Factor on the similarity to the non-semantic negatives: alpha q·t / T inside the exponent; in
    BYOL alpha 2 p·t in the sum. One number, or one for each kind, such as patch=2,texture=1."""
    dose: float | str | None = option(None, listed="names")
    """alpha / T, instead of --alpha. Both together decide the weight of a negative in the softmax.
    One number, or one for each kind; alpha becomes dose times the temperature."""

    def negative_kinds(self) -> tuple[str, ...]:
        """The kinds of non-semantic negatives, in order; empty for none."""
        return () if self.negatives == "none" else tuple(self.negatives.split(","))

    def image_kinds(self) -> tuple[str, ...]:
        """Those of them that are images, which pass through the network."""
        return tuple(kind for kind in self.negative_kinds() if not NEGATIVES[kind].from_queue)

    def alphas(self) -> tuple[float, ...]:
        """The scale of each non-semantic negative of a query, M for each kind in turn."""
        each = self._by_kind("alpha")
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
        idle |= set() if self.image_kinds() else {"negatives_bn"}
        return idle | (set() if kinds else {"alpha", "dose", "negatives_per_query"})

    def replace(self: T, **changes: Any) -> T:
        """As `Config.replace`; where the negatives change, the options of kinds that are no longer
        named go, if such an option may be missing. Of alpha and dose the one that changes takes the
        other's place."""
        if "negatives" in changes:
            changes["negatives"] = comma_text(changes["negatives"])
            kinds = set(str(changes["negatives"]).split(","))
            gone = {
                name: None
                for name, declared in NEGATIVES.options().items()
                if _optional(declared) and not kinds & set(declared.defaults)
            }
            changes = {**gone, **changes}
        alpha = changes.get("alpha")
        if changes.get("dose") is None and alpha is not None:
            changes["dose"] = None
        elif changes.get("dose", self.dose) is not None:
            changes.setdefault("alpha", ALPHA)  # anew, of this dose and this temperature
        made = super().replace(**changes)
        if alpha is not None and made.dose is not None and alpha != made.alpha:
            raise ConfigError(_BOTH.format(alpha, made.dose))
        return made

    def _check(self):
        kinds = self.negative_kinds()
        self._check_kinds(kinds)
        if self.dose is not None:
            self._settle_dose()
        if not isinstance(self.alpha, str):
            check_bounds("alpha", self.alpha, BOUNDS)
        for kind, alpha in self._by_kind("alpha").items():
            check_bounds(f"alpha of {kind}", alpha, BOUNDS)
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
            known = ("none", *NEGATIVES)
            unknown = [kind for kind in kinds if kind not in known]
            raise ConfigError(
                f"--negatives is {self.negatives!r}: one of {', '.join(known)}, or several without "
                "none, each once, was expected" + (nearest(unknown[0], known) if unknown else ".")
            )
        for kind in kinds:
            if NEGATIVES[kind].from_queue and not METHODS[self.method].queue:
                able = " or ".join(name for name, one in METHODS.items() if one.queue)
                raise ConfigError(
                    f"--negatives has {kind}, which takes keys of the queue, and --method "
                    f"{self.method} has none ({able} only)."
                )
            if NEGATIVES[kind].needs_another_image and self.batch_size < 2:
                raise ConfigError(
                    f"--batch_size is {self.batch_size}: {kind} needs another image in the batch."
                )

    def _settle_dose(self):
        """Give alpha the value that the dose means."""
        if self.temperature is None:
            raise ConfigError(
                f"--dose is {self.dose!r}, alpha / T, but --method {self.method} has no "
                "temperature: give --alpha."
            )
        doses = self._by_kind("dose")
        if isinstance(self.dose, str):
            alpha = ",".join(f"{kind}={dose * self.temperature!r}" for kind, dose in doses.items())
        else:
            check_bounds("dose", self.dose, BOUNDS)
            alpha = self.dose * self.temperature
        if self.alpha not in (ALPHA, alpha):
            raise ConfigError(_BOTH.format(self.alpha, self.dose))
        object.__setattr__(self, "alpha", alpha)

    def _by_kind(self, name):
        """{kind: its alpha or dose}."""
        kinds, value = self.negative_kinds(), getattr(self, name)
        if not isinstance(value, str):
            return dict.fromkeys(kinds, value)
        wrong = (
            f"--{name} is {value!r}: a number of at least 0, or one for each kind of --negatives "
            f"{self.negatives}"
        )
        try:
            pairs = [
                (kind, float(number))
                for kind, number in (entry.split("=") for entry in value.split(","))
            ]
        except ValueError:
            raise ConfigError(f"{wrong}, such as patch=2,texture=1, was expected.") from None
        if sorted(kind for kind, _ in pairs) != sorted(kinds):
            raise ConfigError(f"{wrong}, each named once, was expected.")
        return dict(pairs)


_BOTH = "--alpha is {!r} and --dose is {!r}: a dose is alpha / T, give one of them."


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
