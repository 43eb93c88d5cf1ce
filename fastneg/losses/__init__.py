"""The public losses, built on `fastneg.kernels.info_nce` and `fastneg.kernels.pairs`.

info_nce_loss  InfoNCELoss, the loss as a module, with the call of info-nce-pytorch
two_views      nt_xent (SimCLR's) and clip_loss (both directions; clip.py does it in one sweep)
siglip         siglip_loss: a sigmoid for each pair of rows
ring           rows that go round the processes
supervised     supervised_contrastive: several positives of each row
"""

from fastneg.kernels.info_nce import InfoNCEOutput, info_nce
from fastneg.losses.info_nce_loss import InfoNCELoss
from fastneg.losses.siglip import siglip_loss
from fastneg.losses.supervised import supervised_contrastive
from fastneg.losses.two_views import NTXentOutput, clip_loss, nt_xent

__all__ = [
    "InfoNCELoss",
    "InfoNCEOutput",
    "NTXentOutput",
    "clip_loss",
    "info_nce",
    "nt_xent",
    "siglip_loss",
    "supervised_contrastive",
]
