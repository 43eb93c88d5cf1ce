"""The settings of pre-training, assembled from the parts in this folder. A run stores them in its
config.json."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastneg import plugins
from fastneg.config.assemble import assemble, make_again
from fastneg.config.base import field_docs, field_types
from fastneg.config.method import MethodPart, method_fields
from fastneg.config.negatives import NegativesPart, negatives_fields
from fastneg.config.optimisation import OptimisationPart
from fastneg.config.run import DataPart, RunPart
from fastneg.config.views import ViewsPart
from fastneg.methods import METHODS
from fastneg.negatives import NEGATIVES
from fastneg.options import ConfigError, UnfitError, comma_text

PARTS = (DataPart, MethodPart, NegativesPart, ViewsPart, OptimisationPart, RunPart)
"""In the order of the fields, and of their checks."""
RENAMED = {"augmentation": "views", "augment": "augment_with"}
"""{name in config.json and checkpoints of earlier runs, and as a flag: today's name}."""
EARLIER = {"stem": "standard", "augment_with": "dali"}
"""Fields that earlier versions did not write, or had another default: what their runs did."""


def todays_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a file, config.json or a checkpoint, under today's names."""
    return {RENAMED.get(name, name): value for name, value in dict(settings).items()}


# A dataclass takes the fields of its last parent first.
@dataclass(frozen=True)
class PretrainConfig(RunPart, OptimisationPart, ViewsPart, NegativesPart, MethodPart, DataPart):
    """Pre-train an encoder with contrastive learning and non-semantic negatives."""

    if TYPE_CHECKING:  # options of methods and negatives become fields when they are registered

        def __init__(self, **fields: Any) -> None: ...

        def __getattr__(self, name: str) -> Any: ...

    def __post_init__(self):
        object.__setattr__(self, "negatives", comma_text(self.negatives))
        named = {str(self.method), *str(self.negatives).split(",")}
        if not named <= {*METHODS, *NEGATIVES, "none"}:
            plugins.load()
        super().__post_init__()
        for part in PARTS:
            part._check(self)

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> PretrainConfig:
        """The config of the settings that a file holds, a checkpoint or config.json, of an earlier
        version too.

        Raises:
            UnfitError: one of them is not known, or has a value that cannot be.
        """
        settings = {**EARLIER, **todays_names(settings)}
        names = {field.name for field in dataclasses.fields(cls)}
        if settings.keys() - names:
            plugins.load()
            names = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(settings.keys() - names):
            raise UnfitError(
                f"The settings hold {', '.join(unknown)}, which this version of fastneg does not "
                "know. If it is an option of a method or of negatives of your own, name the module "
                f"that registers them: {plugins.VARIABLE}=my_package.my_method."
            )
        try:
            return cls(**settings)
        except ConfigError as error:  # of the file, and of no command line
            raise UnfitError(str(error)) from error


def _assemble():
    """Give `PretrainConfig` the options of all methods and negatives that are registered."""
    fields = {MethodPart: method_fields(), NegativesPart: negatives_fields()}
    known = {name for part in fields for name in vars(part).get("_assembled", {})}
    names = [name for options in fields.values() for name in options]
    for name in names:
        taken = names.count(name) > 1 or (name not in known and hasattr(PretrainConfig, name))
        if taken and name not in ("method", "negatives"):
            raise ValueError(
                f"The option {name} has a name that PretrainConfig has already: take another one."
            )
    assemble(MethodPart, fields[MethodPart], before="bn_splits")
    assemble(NegativesPart, fields[NegativesPart])
    make_again(PretrainConfig)
    field_docs.cache_clear()
    field_types.cache_clear()


_assemble()
for _registry in (METHODS, NEGATIVES):
    _registry.watchers.append(_assemble)
