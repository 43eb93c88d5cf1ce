"""Losses of two views that are each other's positives."""

from typing import Literal, NamedTuple, overload

import torch

from fastneg.kernels.checks import check_flags
from fastneg.kernels.info_nce import info_nce
from fastneg.kernels.info_nce_call import operand_of, wide_dtype
from fastneg.kernels.info_nce_checks import check_options, check_temperature
from fastneg.losses.clip import symmetric_losses
from fastneg.losses.ring import Ring, number_in
from fastneg.losses.views import check_extra, check_pair, others_checked


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
    lse: torch.Tensor
    """(2n,): the log-sum-exp of all logits of a row, the positive among them."""


@overload
def nt_xent(
    first: torch.Tensor,
    second: torch.Tensor,
    everyone: tuple[torch.Tensor, torch.Tensor] | None = ...,
    *,
    temperature: float | torch.Tensor = ...,
    extra_negatives: torch.Tensor | None = ...,
    extra_scale: float = ...,
    return_stats: Literal[False] = ...,
) -> torch.Tensor: ...


@overload
def nt_xent(
    first: torch.Tensor,
    second: torch.Tensor,
    everyone: tuple[torch.Tensor, torch.Tensor] | None = ...,
    *,
    temperature: float | torch.Tensor = ...,
    extra_negatives: torch.Tensor | None = ...,
    extra_scale: float = ...,
    return_stats: Literal[True],
) -> NTXentOutput: ...


def nt_xent(
    first: torch.Tensor,
    second: torch.Tensor,
    everyone: tuple[torch.Tensor, torch.Tensor] | None = None,
    *,
    temperature: float | torch.Tensor = 0.1,
    extra_negatives: torch.Tensor | None = None,
    extra_scale: float = 1.0,
    return_stats: bool = False,
) -> torch.Tensor | NTXentOutput:
    """SimCLR's loss, NT-Xent: each of 2n views against all others, its image's other view positive.

    Nothing of size n × N is stored. Every input that requires a gradient gets one. The mean is over
    the 2n views of this process.

    Args:
        first, second: (n, D), the two views of each image, L2-normalised; dtypes as in `info_nce`.
        everyone: (first, second) of all processes, (N, D) each, with this process's rows first;
            None with one process.
        temperature: T, a float above 0 or a 0-d tensor on the same device.
        extra_negatives: (n, M, D), the negatives of each image only, for both of its views.
        extra_scale: factor on the similarity to the extra negatives, inside the exponent.
        return_stats: True returns NTXentOutput instead of the loss.
    Returns:
        the loss, () float32 (float64 for float64 inputs); or NTXentOutput.
    Raises:
        ValueError: shapes, dtypes or devices disagree, or a single image has no negatives.
    Source: Chen et al. 2020, arXiv:2002.05709, equation 1.
    """
    check_flags(return_stats=return_stats)
    check_pair(first, second)
    check_extra(extra_negatives)
    all_first, all_second = others_checked(everyone, first, second)
    alone = _is_alone(all_first, extra_negatives)
    extra = {"extra_negatives": extra_negatives, "extra_scale": extra_scale}
    losses, ranks, positives = [], [], []
    pairs = (first, second, all_first, all_second), (second, first, all_second, all_first)
    for query, positive, same, other in pairs:
        # Two passes, for two keys of each row must be left out: its positive among the other views,
        # itself among its own kind.
        common = {"temperature": temperature, "reduction": "none"}
        common |= {"return_stats": True, "exclude_diagonal": True}
        within = info_nce(query, positive, same, **common, **extra)
        positives.append(within.positive_logit.detach())
        if alone:  # its extra negatives are all that it has
            losses.append(within.loss)
            ranks.append(within.rank)
            continue
        across = info_nce(query, positive, other, **common)
        losses.append(_joined(across.loss, within.loss))
        ranks.append(across.rank + within.rank)
    rows, rank = torch.cat(losses), torch.cat(ranks)
    if not return_stats:
        return rows.mean()
    acc1, acc5 = (rank < 1).float().mean(), (rank < 5).float().mean()
    return NTXentOutput(rows.mean(), rank, acc1, acc5, rows.detach() + torch.cat(positives))


def clip_loss(
    first: torch.Tensor,
    second: torch.Tensor,
    everyone: tuple[torch.Tensor, torch.Tensor] | None = None,
    *,
    temperature: float | torch.Tensor = 0.07,
    ring: bool = False,
    precision: str | None = None,
    backend: str = "auto",
) -> torch.Tensor:
    """CLIP's symmetric loss of pairs, for example of images and texts: each row against all rows of
    the other side.

    It is the mean of the cross-entropies of first·secondᵀ / T over its rows and over its columns,
    with the pairs as classes. Nothing of size n × N is stored. Every input that requires a gradient
    gets one.

    Args:
        first, second: (n, D), the two sides of each pair, L2-normalised; dtypes as in `info_nce`.
        everyone: (first, second) of all processes, (N, D) each, with this process's rows first;
            None with one process.
        temperature: T, a float above 0, or a 0-d tensor on the same device, which may require a
            gradient. A learned scale s, as in CLIP, is T = 1 / s.
        ring: compare with the pairs of all processes of the default group, each with the same
            number, without gathering them: the pairs are passed around, forward and backward. Each
            process gets the mean loss of its own pairs. Its features get the gradient of the losses
            of all processes. The gradient of T is a share; the shares of all processes add up to
            that of all losses. With DistributedDataParallel, which averages over the processes,
            everything is as in one process.
        precision, backend: as in `info_nce`.
    Returns:
        () float32 (float64 for float64 inputs), the mean over the pairs of this process.
    Raises:
        ValueError: shapes, dtypes, devices or options disagree, there is only one pair, or both
            `everyone` and `ring` are given.
        RuntimeError: the requested backend cannot run here.
    Source: Radford et al. 2021, arXiv:2103.00020, figure 3.
    """
    check_flags(ring=ring)
    if ring and everyone is not None:
        raise ValueError(
            "everyone is given and ring is True: give one of them, both name the other processes' "
            "rows."
        )
    check_pair(first, second)
    all_first, all_second = others_checked(everyone, first, second)
    _is_alone(all_first, None, Ring(ring).size)
    check_temperature(temperature, first.device)
    options = {"precision": precision, "backend": backend}
    if everyone is None:
        check_options(precision=precision, backend=backend)
        operand = operand_of((first, second), precision)
        heat = number_in("temperature", temperature, wide_dtype(operand), first.device)
        rows, columns = symmetric_losses(first, second, heat, ring, operand, backend)
        return (rows.mean() + columns.mean()) / 2
    # The rows and the columns of two matrices: those of one's own against all of the other side.
    options |= {"temperature": temperature, "exclude_diagonal": True}
    rows = info_nce(first, second, all_second, **options)
    columns = info_nce(second, first, all_first, **options)
    return (rows + columns) / 2


def _is_alone(everyone, extra_negatives, processes=1):
    """Whether there is one image alone, which then has extra negatives; ValueError if it has
    none."""
    alone = len(everyone) * processes == 1
    if alone and (extra_negatives is None or extra_negatives.shape[1] == 0):
        raise ValueError(
            "first and second have one row, so there are no other images to be the negatives, and "
            "the loss would be 0 whatever the features. Give two rows or more."
        )
    return alone


def _joined(one, other):
    """The loss of both sets of negatives from the loss of each: log(e^a + e^b - 1), without
    cancellation and without overflow."""
    large, small = torch.maximum(one, other), torch.minimum(one, other)
    return large + torch.log1p(torch.exp(small - large) * -torch.expm1(-small))
