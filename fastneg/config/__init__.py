"""The settings of every command: one frozen dataclass per command, with a docstring under each
field, checked when it is built.

A config that exists is valid: types, ranges and choices are checked in `__post_init__`, so no work
starts on a wrong one. A field that belongs to particular choices of another one (the queue to MoCo,
say) is None under any other: an option that would have no effect is refused, and never stands in a
config as if it had one.
"""

from fastneg.config.base import Config, default_workers, field_docs, flag_text
from fastneg.config.data import EncodeConfig, TexturesConfig, VerifyConfig
from fastneg.config.evaluation import EvaluateConfig, FinetuneConfig, KnnConfig, LinearConfig
from fastneg.config.normalisation import IMAGENET, INTERPOLATIONS, Normalisation
from fastneg.config.pretrain import PretrainConfig
from fastneg.config.study import StudyConfig
from fastneg.config.tools import (
    CompletionConfig,
    DemoConfig,
    EmbedConfig,
    ExportConfig,
    ImportConfig,
    PresetsConfig,
    ReportConfig,
    StencilsConfig,
    StencilsSpec,
)
from fastneg.options import ConfigError, UnfitError, option

__all__ = [
    "IMAGENET",
    "INTERPOLATIONS",
    "CompletionConfig",
    "Config",
    "ConfigError",
    "DemoConfig",
    "EmbedConfig",
    "EncodeConfig",
    "EvaluateConfig",
    "ExportConfig",
    "FinetuneConfig",
    "ImportConfig",
    "KnnConfig",
    "LinearConfig",
    "Normalisation",
    "PresetsConfig",
    "PretrainConfig",
    "ReportConfig",
    "StencilsConfig",
    "StencilsSpec",
    "StudyConfig",
    "TexturesConfig",
    "UnfitError",
    "VerifyConfig",
    "default_workers",
    "field_docs",
    "flag_text",
    "option",
]
