"""InfoNCE in one pass over the negatives: the contract.

Shapes: N batch, K shared negatives (the queue), M extra negatives per query, D feature dimension.
The derivation is in docs/explanation/loss.md. The two implementations are info_nce_torch.py and
info_nce_triton.py; the operator that chooses one, and the gradients, are in info_nce_operator.py,
what is refused in info_nce_checks.py.
"""

from typing import TYPE_CHECKING, Literal, NamedTuple, overload

import torch
from torch import Tensor
from torch.autograd import forward_ad

from .backend import debugging
from .checks import check_dim, check_flags
from .info_nce_call import LeftOut, Pairs, Wanted, operand_of
from .info_nce_checks import (
    check_labels,
    check_left_out,
    check_negatives,
    check_options,
    check_shares,
    check_targets,
    check_temperature,
    check_tensors,
    check_unit_rows,
)
from .info_nce_operator import rows_of
from .info_nce_targets import soften
from .operators import transforming

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .info_nce_call import PairOptions


class InfoNCEOutput(NamedTuple):
    """The loss and further results of the same pass. Gradients flow through the loss, the
    log-sum-exp and the positive logit."""

    loss: torch.Tensor
    """float32 (float64 for float64 inputs), () or (N,) by `reduction`."""
    rank: torch.Tensor
    """(N,) int64: how many negatives have a strictly greater logit than the positive; the number of
    negatives where the loss is NaN."""
    acc1: torch.Tensor
    """() float32 in [0, 1]: the share of rows whose rank is 0."""
    acc5: torch.Tensor
    """() float32 in [0, 1]: the share of rows whose rank is below 5."""
    lse: torch.Tensor
    """(N,): the log-sum-exp of all logits of a row, the positive among them."""
    positive_logit: torch.Tensor
    """(N,): query·positive / temperature."""


@overload
def info_nce(
    query: Tensor, positive: Tensor, negatives: Tensor | None = ..., *,
    temperature: float | Tensor = ..., extra_negatives: Tensor | None = ...,
    extra_scale: float = ..., reduction: str = ..., negatives_layout: str = ...,
    return_stats: Literal[False] = ..., precision: str | None = ..., backend: str = ...,
    exclude_diagonal: bool = ..., normalised: bool = ..., **pairs: "Unpack[PairOptions]",
) -> Tensor: ...  # fmt: skip


@overload
def info_nce(
    query: Tensor, positive: Tensor, negatives: Tensor | None = ..., *,
    temperature: float | Tensor = ..., extra_negatives: Tensor | None = ...,
    extra_scale: float = ..., reduction: str = ..., negatives_layout: str = ...,
    return_stats: Literal[True], precision: str | None = ..., backend: str = ...,
    exclude_diagonal: bool = ..., normalised: bool = ..., **pairs: "Unpack[PairOptions]",
) -> InfoNCEOutput: ...  # fmt: skip


@overload
def info_nce(
    query: Tensor, positive: Tensor, negatives: Tensor | None = ..., *,
    temperature: float | Tensor = ..., extra_negatives: Tensor | None = ...,
    extra_scale: float = ..., reduction: str = ..., negatives_layout: str = ...,
    return_stats: bool, precision: str | None = ..., backend: str = ...,
    exclude_diagonal: bool = ..., normalised: bool = ..., **pairs: "Unpack[PairOptions]",
) -> Tensor | InfoNCEOutput: ...  # fmt: skip


def info_nce(
    query: Tensor, positive: Tensor, negatives: Tensor | None = None, *,
    temperature: float | Tensor = 0.07, extra_negatives: Tensor | None = None,
    extra_scale: float = 1.0, reduction: str = "mean", negatives_layout: str = "kd",
    return_stats: bool = False, precision: str | None = None, backend: str = "auto",
    exclude_diagonal: bool = False, normalised: bool = False, **pairs: "Unpack[PairOptions]",
) -> Tensor | InfoNCEOutput:  # fmt: skip
    """InfoNCE with shared and extra negatives, in one pass and without an (N, K) logit matrix.

    loss_i = -log( exp(q·k/T) / (exp(q·k/T) + sum_j exp(q·n_j/T) + sum_m exp(extra_scale q·t_m/T)) )

    Normalise the inputs first. Every tensor input that requires a gradient gets one, first
    derivatives only: the query's in the pass of the loss, that of shared negatives in a second
    pass. Works with torch.compile(fullgraph=True) and torch.func's grad, vjp and vmap.

    Args:
        query: (N, D) float32, bfloat16, float16 or float64 (torch backend only).
        positive: (N, D), the key of each query.
        negatives: (K, D) shared by all queries, K ≥ 0, any strides; None: the others' positives.
        temperature: T, a float above 0 or a 0-d tensor on the same device (on CUDA its value is not
            checked, because that would wait for the device).
        extra_negatives: (N, M, D), M ≥ 0, the negatives of each query only.
        extra_scale: factor on the similarity to these, inside the exponent (the method's alpha).
        reduction: "mean", "sum" or "none".
        negatives_layout: "kd" for (K, D); "dk" for (D, K) as in MoCo, which is read in place.
        return_stats: True returns InfoNCEOutput instead of the loss.
        precision: of float32 products: "ieee" (also None), "tf32" (Triton only), "bf16" (inputs
            rounded to bfloat16). Different dtypes are promoted. Under autocast, float32 inputs are
            rounded to its dtype unless precision is given. Sums are always float32.
        backend: "auto" (Triton on CUDA, otherwise torch), "triton" or "torch".
        exclude_diagonal: do not compare query i with negatives[i], for negatives that begin with
            the queries or their positives. Without `negatives` this is always so. A single row then
            has only `extra_negatives`, and is refused without them.
        normalised: a promise that no row of query and negatives is longer than 1. The pass is then
            faster, because 1/T bounds the logits and no maximum is needed. Used for a float T of
            0.023 or more (0.12 for float16 on a GPU). A longer row may give a wrong or infinite
            loss; FASTNEG_DEBUG=1 in the environment refuses it.
        pairs: masks and labels of false negatives, soft targets, weights of rows: `PairOptions`.
    Returns:
        the loss, float32 (float64 for float64 inputs), () or (N,) by `reduction`; or InfoNCEOutput.
    Raises:
        ValueError: shapes, dtypes, devices or options disagree; a row has nothing to compare with.
        RuntimeError: the requested backend cannot run here.
    Source: van den Oord et al. 2018, arXiv:1807.03748; He et al. 2020, arXiv:1911.05722; Ge et al.
    2021, arXiv:2110.14189.
    """
    check_options(reduction, negatives_layout, negatives is None, precision, backend)
    check_flags(return_stats=return_stats, exclude_diagonal=exclude_diagonal, normalised=normalised)
    alone = negatives is None or exclude_diagonal
    shared = _shared(positive, negatives, negatives_layout)
    tensors = query, positive, shared, extra_negatives
    check_tensors(*tensors, extra_scale)
    check_negatives(query, shared, extra_negatives, alone)
    check_temperature(temperature, query.device)
    if normalised and debugging():
        check_unit_rows(query=query, negatives=shared)
    asked = _asked(query, shared, negatives is None, pairs)
    call = _Call(tensors, temperature, extra_scale, operand_of(tensors, precision), backend)
    return _loss(call, alone, normalised, asked, reduction, return_stats)


class _Call(NamedTuple):
    tensors: tuple
    """query, positive, negatives (K, D), extra negatives or None; checked."""
    temperature: float | Tensor
    extra_scale: float
    operand: str
    backend: str


def _asked(query, shared, in_batch, pairs):
    """The checked `Pairs`."""
    if not pairs:
        return Pairs()
    if unknown := pairs.keys() - Pairs._fields:
        raise TypeError(f"info_nce() got an unexpected keyword argument {min(unknown)!r}")
    asked = Pairs(**pairs)
    if in_batch and asked.negative_labels is None:
        asked = asked._replace(negative_labels=asked.query_labels)
    labels = check_labels(asked.query_labels, asked.negative_labels)
    asked = asked._replace(query_labels=labels[0], negative_labels=labels[1])
    check_left_out(query, shared, asked)
    check_targets(query, shared, asked)
    if debugging():
        check_shares(asked.soft_labels, asked.row_weights)
    return asked


def _loss(call, alone, normalised, asked, reduction, return_stats):
    left_out = LeftOut(alone, *asked[:3])
    outputs = _rows(call, left_out, Wanted(rank=return_stats, normalised=normalised))
    if asked.label_smoothing or asked.soft_labels is not None:
        outputs = soften(outputs, call, left_out, asked.label_smoothing, asked.soft_labels)
    return _reduced(outputs, reduction, return_stats, asked.row_weights)


def _shared(positive, negatives, layout):
    """The shared negatives as (K, D), of whatever layout, or in-batch."""
    if negatives is None:
        return positive
    if layout == "dk":
        check_dim("negatives", negatives, 2, "(D, K)")
        return negatives.t()
    return negatives


def _rows(call, left_out, wanted):
    """The operator's outputs."""
    query, temperature = call.tensors[0], call.temperature
    learned = isinstance(temperature, torch.Tensor)
    _refuse_tangents(*call.tensors, temperature if learned else None)
    wants_grad = torch.is_grad_enabled() and (
        query.requires_grad or (learned and temperature.requires_grad) or transforming()
    )
    return rows_of(
        *call.tensors,
        temperature if learned else None,
        *left_out[1:],
        1.0 if learned else float(temperature),
        float(call.extra_scale),
        left_out.diagonal,
        wanted.normalised,
        call.operand,
        wants_grad,
        wanted.rank,
        call.backend,
    )


def _reduced(outputs, reduction, return_stats, row_weights):
    rows, lse, rank, positive_logit, *_ = outputs
    if row_weights is None:
        loss = {"mean": torch.mean, "sum": torch.sum, "none": torch.clone}[reduction](rows)
    else:
        weights = row_weights.to(rows.dtype)
        loss = rows * weights
        loss = loss if reduction == "none" else loss.sum()
        if reduction == "mean":
            loss = loss / torch.where((weights == 0).all(), 1.0, weights.sum())
    if not return_stats:
        return loss
    acc1, acc5 = ((rank < least).mean(dtype=torch.float32) for least in (1, 5))
    return InfoNCEOutput(loss, rank, acc1, acc5, lse, positive_logit)


def _refuse_tangents(*inputs):
    """Forward mode differentiation would take the operator for a constant and give zeros."""
    if torch.compiler.is_compiling():
        return
    if any(
        tensor is not None and forward_ad.unpack_dual(tensor).tangent is not None
        for tensor in inputs
    ):
        raise RuntimeError(
            "info_nce got an input with a tangent (torch.func.jvp, dual numbers): only backward "
            "gradients are implemented."
        )
