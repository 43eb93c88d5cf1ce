"""fastneg: contrastive pre-training of vision encoders with non-semantic negatives.

The losses and `patch_negatives` need torch alone (and, on CUDA, the Triton that comes with it);
the loaders and `load_run` need the extra train. A name is imported when it is first used: the
command line answers without torch.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from fastneg.checkout import find_what_lies_beside
from fastneg.version import __version__

__all__ = [
    "EvalLoader",
    "InfoNCELoss",
    "InfoNCEOutput",
    "TrainLoader",
    "__version__",
    "clip_loss",
    "info_nce",
    "load_run",
    "nt_xent",
    "patch_negatives",
    "pretrain",
    "siglip_loss",
    "supervised_contrastive",
]

_HOMES = {
    "EvalLoader": "fastneg.data.load.labelled_loaders",
    "InfoNCELoss": "fastneg.losses",
    "InfoNCEOutput": "fastneg.kernels.info_nce",
    "TrainLoader": "fastneg.data.load.train_loader",
    "clip_loss": "fastneg.losses",
    "info_nce": "fastneg.kernels.info_nce",
    "load_run": "fastneg.runs.load",
    "nt_xent": "fastneg.losses",
    "patch_negatives": "fastneg.negatives.patch_torch",
    "pretrain": "fastneg.recipes.pretrain",
    "siglip_loss": "fastneg.losses",
    "supervised_contrastive": "fastneg.losses",
}
_PARTS = ("data", "kernels", "losses", "negatives")

find_what_lies_beside(Path(__file__).parent)

if TYPE_CHECKING:  # editors and type checkers see each name where it is defined, and no others
    from fastneg import data as data
    from fastneg import kernels as kernels
    from fastneg import losses as losses
    from fastneg import negatives as negatives
    from fastneg.data.load.labelled_loaders import EvalLoader
    from fastneg.data.load.train_loader import TrainLoader
    from fastneg.kernels.info_nce import InfoNCEOutput, info_nce
    from fastneg.losses import (
        InfoNCELoss,
        clip_loss,
        nt_xent,
        siglip_loss,
        supervised_contrastive,
    )
    from fastneg.negatives.patch_torch import patch_negatives
    from fastneg.recipes.pretrain import pretrain
    from fastneg.runs.load import load_run
else:

    def __getattr__(name):
        if name in _PARTS:
            return import_module(f"fastneg.{name}")
        if name not in _HOMES:
            raise AttributeError(f"module 'fastneg' has no attribute {name!r}")
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value  # the next use does not come here
        return value

    def __dir__():
        return sorted({*__all__, *_PARTS})
