"""fastneg: contrastive pre-training of vision encoders with non-semantic negatives.

These names need torch alone (and, on CUDA, the Triton that comes with it).
"""

from fastneg.kernels.info_nce import InfoNCEOutput, info_nce
from fastneg.losses import InfoNCELoss
from fastneg.negatives.patch import patch_negatives
from fastneg.version import __version__

__all__ = ["InfoNCELoss", "InfoNCEOutput", "__version__", "info_nce", "patch_negatives"]
