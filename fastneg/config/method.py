"""The method: its name, its network and the options that methods take."""

from __future__ import annotations

from dataclasses import dataclass

from fastneg.config.assemble import Assembled
from fastneg.config.base import Config
from fastneg.methods import METHODS
from fastneg.options import ConfigError, option


@dataclass(frozen=True)
class MethodPart(Config):
    method: str = "moco"
    backbone: str = "resnet50"
    """A torchvision classification model by name, timm:NAME, or resnet_tiny (0.3 M parameters, for
    CPUs)."""
    bn_splits: int | None = option(None, at_least=1, by=("bn", {"split": 4}))
    """Groups of the batch on each device with their own batch statistics (with --bn split)."""

    def _check(self):
        method = METHODS[self.method]
        if self.bn in ("split", "shuffle") and not method.shuffles_keys:
            able = " or ".join(name for name, one in METHODS.items() if one.shuffles_keys)
            raise ConfigError(
                f"--bn is {self.bn}, which is of no use to --method {self.method}: it keeps keys "
                f"apart from queries ({able} only)."
            )
        if self.key_pass == "batched" and (not self.negative_kinds() or self.bn == "sync"):
            wherefore = (
                "--bn is sync, with statistics over whole passes"
                if self.negative_kinds()
                else "there are no negatives"
            )
            raise ConfigError(f"--key_pass is batched, but {wherefore}: take separate.")
        method.check(self)


def method_fields():
    """{name: `Assembled`} of --method and of the options of the methods.

    An option has the default of each method that takes it, and no effect under any other.
    """
    fields = {"method": Assembled(str, "moco", {"choices": tuple(METHODS)}, _about)}
    for name, declared in METHODS.options().items():
        bounds = {**declared.bounds, "by": ("method", declared.defaults)}
        doc = lambda name=name, declared=declared: declared.doc(name)
        fields[name] = Assembled(declared.kind | None, None, bounds, doc)
    return fields


def _about():
    return "; ".join(f"{name}: {method.about}" for name, method in METHODS.items()) + "."
