"""The contrastive loss as a module."""

import torch

from fastneg.kernels.checks import check_choice
from fastneg.kernels.info_nce import info_nce
from fastneg.kernels.info_nce_checks import check_options, check_temperature

NEGATIVE_MODES = ("unpaired", "paired")


SAFE = (1e-15, 1e15)
"""Largest elements of a row between which its squares neither vanish nor overflow in float32."""


class InfoNCELoss(torch.nn.Module):
    """InfoNCE as a module that normalises its inputs; a drop-in for `InfoNCE` of info-nce-pytorch,
    with the same arguments and numbers.

    Call it with query (N, D), positive_key (N, D) and negative_keys: (K, D) shared with "unpaired",
    (N, M, D) for each query with "paired", or None for the positives of the other rows. Inputs are
    L2-normalised, half precision in float32, so a row of zeros or of very large numbers also gives
    a finite loss. Dtypes and errors are as in `info_nce`.

    Args:
        temperature: T, a float above 0 or a 0-d tensor (a Parameter is learned).
        reduction: "mean", "sum" or "none".
        negative_mode: "unpaired" or "paired".
    Returns:
        the loss, float32 (float64 for float64 inputs), () or (N,) by `reduction`.
    Raises:
        ValueError: an option (when the module is built) or a shape is invalid, or the only row
            would be its own negative.
    Source: van den Oord et al. 2018, arXiv:1807.03748; https://pypi.org/project/info-nce-pytorch
    """

    def __init__(
        self,
        temperature: float | torch.Tensor = 0.1,
        reduction: str = "mean",
        negative_mode: str = "unpaired",
    ) -> None:
        super().__init__()
        check_temperature(temperature)
        check_options(reduction)
        check_choice("negative_mode", negative_mode, NEGATIVE_MODES)
        self.temperature = temperature
        self.reduction = reduction
        self.negative_mode = negative_mode

    def forward(
        self,
        query: torch.Tensor,
        positive_key: torch.Tensor,
        negative_keys: torch.Tensor | None = None,
    ) -> torch.Tensor:
        options = {"temperature": self.temperature, "reduction": self.reduction}
        query, positive_key = unit_rows(query), unit_rows(positive_key)
        if negative_keys is None:
            return info_nce(query, positive_key, **options)
        negative_keys = unit_rows(negative_keys)
        if self.negative_mode == "unpaired":
            return info_nce(query, positive_key, negative_keys, **options)
        return info_nce(
            query,
            positive_key,
            query.new_empty(0, query.shape[-1]),
            extra_negatives=negative_keys,
            **options,
        )

    def extra_repr(self) -> str:
        return (
            f"temperature={self.temperature}, reduction={self.reduction!r}, "
            f"negative_mode={self.negative_mode!r}"
        )


def unit_rows(features):
    """Each row divided by its length; a row of zeros stays one.

    The length is taken in float32 at least, for float16 has neither the squares of 300 nor the
    1e-12 by which a short length is usually bounded: there a row of zeros is 0 / 0. A row that is
    out of float32's reach too is brought there first.

    Args:
        features: (…, D), floating-point.
    Returns:
        (…, D) of the same dtype. A row that holds a NaN or an infinity gives NaNs.
        The gradient of a row of zeros is the one of its result: its direction could be any.
    """
    if not isinstance(features, torch.Tensor) or not features.is_floating_point():
        return features  # what is no feature is refused, with its dtype, by who takes it
    wide = features.to(torch.promote_types(features.dtype, torch.float32))
    if wide.shape[-1] == 0:
        return features
    largest = wide.detach().abs().amax(-1, keepdim=True)
    out_of_reach = (largest > SAFE[1]) | ((largest < SAFE[0]) & (largest > 0))
    wide = wide / torch.where(out_of_reach, largest, 1.0)
    length = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
    return (wide / torch.where(length == 0, 1.0, length)).to(features.dtype)
