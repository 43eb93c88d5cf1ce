"""The contrastive loss as a function and as a module, and the one of two views that are each
other's positives.

`info_nce` is the function that everything else calls; `InfoNCELoss` is the same loss with the call
of `info-nce-pytorch`; `nt_xent` is SimCLR's.
"""

from typing import NamedTuple

import torch

from fastneg.kernels.info_nce import InfoNCEOutput, info_nce
from fastneg.kernels.info_nce_checks import check_choice, check_options, check_temperature
from fastneg.kernels.unit_length import unit_rows

__all__ = ["InfoNCELoss", "InfoNCEOutput", "NTXentOutput", "info_nce", "nt_xent"]

NEGATIVE_MODES = ("unpaired", "paired")


class InfoNCELoss(torch.nn.Module):
    """InfoNCE of normalised inputs, a drop-in for `InfoNCE` of info-nce-pytorch: same arguments,
    same numbers.

    Called with query (N, D), positive_key (N, D) and negative_keys: (K, D) shared with "unpaired",
    (N, M, D) of each query alone with "paired", or None for the positives of the other rows.
    Inputs are L2-normalised here, in float32 where they are of half precision: a row of zeros or of
    very large numbers gives a finite loss too. Dtypes and errors are as in `info_nce`.

    Args:
        temperature: T, a float above 0 or a 0-d tensor (a Parameter is learned).
        reduction: "mean", "sum" or "none".
        negative_mode: "unpaired" or "paired".
    Returns:
        the loss, float32 (float64 for float64 inputs), () or (N,) by `reduction`.
    Raises:
        ValueError: an option (when it is built) or a shape is none of these, or one row is to be
            its own negatives.
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


class NTXentOutput(NamedTuple):
    """The loss and what the same passes know about it; everything but the loss is detached."""

    loss: torch.Tensor
    """() float32 (float64 for float64 inputs)."""
    rank: torch.Tensor
    """(2n,) int64, first views, then second: how many negatives have a strictly greater logit than
    the positive."""
    acc1: torch.Tensor
    """() float32 in [0, 1]: the share of rows whose rank is 0."""
    acc5: torch.Tensor
    """() float32 in [0, 1]: the share of rows whose rank is below 5."""


def nt_xent(
    first: torch.Tensor,
    second: torch.Tensor,
    everyone: tuple[torch.Tensor, torch.Tensor] | None = None,
    *,
    temperature: float = 0.1,
    extra_negatives: torch.Tensor | None = None,
    extra_scale: float = 1.0,
) -> NTXentOutput:
    """SimCLR's loss: each of 2n views against all the others, its partner the positive; nothing of
    size n × N is stored.

    Gradients reach every input that asks for one. The mean over the 2n views of this process is
    returned.

    Args:
        first, second: (n, D), the two views of each image, L2-normalised; dtypes as in `info_nce`.
        everyone: (first, second) of all processes, (N, D) each, this process's rows before the
            others'; None where there is one process.
        temperature: T, a float above 0.
        extra_negatives: (n, M, D) of each image alone: both its views are compared with them.
        extra_scale: factor on the similarity to the extra negatives, inside the exponent.
    Returns:
        `NTXentOutput`.
    Raises:
        ValueError: shapes, dtypes or devices disagree, or one image alone has no negatives.
    Source: Chen et al. 2020, arXiv:2002.05709, equation 1.
    """
    all_first, all_second = (first, second) if everyone is None else everyone
    alone = _check_views(first, second, all_first, extra_negatives)
    extra = {}
    if extra_negatives is not None:
        extra = {"extra_negatives": extra_negatives, "extra_scale": extra_scale}
    losses, ranks = [], []
    for query, positive, same, other in (
        (first, second, all_first, all_second),
        (second, first, all_second, all_first),
    ):
        # Two passes, for two keys of each row must be left out: its positive among the other views,
        # itself among its own kind.
        common = {
            "temperature": temperature,
            "reduction": "none",
            "return_stats": True,
            "exclude_diagonal": True,
        }
        within = info_nce(query, positive, same, **common, **extra)
        if alone:  # its extra negatives are all that it has
            losses.append(within.loss)
            ranks.append(within.rank)
            continue
        across = info_nce(query, positive, other, **common)
        losses.append(_joined(across.loss, within.loss))
        ranks.append(across.rank + within.rank)
    rank = torch.cat(ranks)
    return NTXentOutput(
        torch.cat(losses).mean(), rank, (rank < 1).float().mean(), (rank < 5).float().mean()
    )


def _check_views(first, second, everyone, extra_negatives):
    """ValueError for views that cannot be compared. Returns whether there is one image alone, which
    then has extra negatives."""
    for name, view in (("first", first), ("second", second)):
        if not isinstance(view, torch.Tensor) or view.ndim != 2:
            came = tuple(view.shape) if isinstance(view, torch.Tensor) else type(view).__name__
            raise ValueError(
                f"{name} is {came}: a tensor (n, D), a view of each image, was expected."
            )
    if first.shape != second.shape:
        raise ValueError(
            f"first is {tuple(first.shape)} but second is {tuple(second.shape)}: they are two "
            "views of the same images."
        )
    alone = len(everyone) == 1
    if alone and (extra_negatives is None or extra_negatives.shape[1] == 0):
        raise ValueError(
            "first and second have one row, and the negatives are the views of the other images: "
            "there is none, and the loss would be 0 whatever the features. Give two rows or more."
        )
    return alone


def _joined(one, other):
    """The loss of both sets of negatives from the loss of each: log(e^a + e^b - 1), without
    cancellation and without overflow."""
    large, small = torch.maximum(one, other), torch.minimum(one, other)
    return large + torch.log1p(torch.exp(small - large) * -torch.expm1(-small))
