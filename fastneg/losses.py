"""The contrastive loss as a function and as a module.

`info_nce` is the function that everything else calls; `InfoNCELoss` is the same loss with the call of `info-nce-pytorch`.
"""

import torch
from torch.nn.functional import normalize

from fastneg.kernels.info_nce import InfoNCEOutput, info_nce

__all__ = ["InfoNCELoss", "InfoNCEOutput", "info_nce"]

NEGATIVE_MODES = ("unpaired", "paired")


class InfoNCELoss(torch.nn.Module):
    """InfoNCE of normalised inputs, a drop-in for `InfoNCE` of info-nce-pytorch: same arguments, same numbers.

    Called with query (N, D), positive_key (N, D) and negative_keys: (K, D) shared with "unpaired", (N, M, D) private to each query
    with "paired", or None for the positives of the other rows. Inputs are L2-normalised here; dtypes and errors as in `info_nce`.

    Args:
        temperature: T, a float above 0 or a 0-d tensor (a Parameter is learned).
        reduction: "mean", "sum" or "none".
        negative_mode: "unpaired" or "paired".
    Returns:
        the loss, float32 (float64 for float64 inputs), () or (N,) by `reduction`.
    Raises:
        ValueError: an option or a shape is none of these.
    Source: van den Oord et al. 2018, arXiv:1807.03748; https://pypi.org/project/info-nce-pytorch
    """

    def __init__(self, temperature=0.1, reduction="mean", negative_mode="unpaired"):
        super().__init__()
        if negative_mode not in NEGATIVE_MODES:
            raise ValueError(f"negative_mode is {negative_mode!r}: one of {', '.join(map(repr, NEGATIVE_MODES))} was expected.")
        self.temperature = temperature
        self.reduction = reduction
        self.negative_mode = negative_mode

    def forward(self, query, positive_key, negative_keys=None):
        options = {"temperature": self.temperature, "reduction": self.reduction}
        query, positive_key = normalize(query, dim=-1), normalize(positive_key, dim=-1)
        if negative_keys is None:
            return info_nce(query, positive_key, **options)
        negative_keys = normalize(negative_keys, dim=-1)
        if self.negative_mode == "unpaired":
            return info_nce(query, positive_key, negative_keys, **options)
        return info_nce(query, positive_key, query.new_empty(0, query.shape[-1]), extra_negatives=negative_keys, **options)

    def extra_repr(self):
        return f"temperature={self.temperature}, reduction={self.reduction!r}, negative_mode={self.negative_mode!r}"
