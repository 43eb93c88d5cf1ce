"""InfoNCE in one pass over the negatives: the contract, the operators and the choice of backend.

Shapes: N batch, K shared negatives (the queue), M extra negatives per query, D feature dimension.
The derivation is in docs/kernels.md. The two implementations are info_nce_torch.py and
info_nce_triton.py; the gradients are in info_nce_grad.py, what is refused in info_nce_checks.py.
"""

from typing import Literal, NamedTuple, overload

import torch
from torch import Tensor
from torch.autograd import forward_ad

from . import info_nce_grad, info_nce_torch
from .backend import resolve_backend
from .info_nce_checks import (
    check_dim,
    check_negatives,
    check_options,
    check_temperature,
    check_tensors,
)


class InfoNCEOutput(NamedTuple):
    """The loss and what the same pass knows about it; everything but the loss is detached."""

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
    exclude_diagonal: bool = ...,
) -> Tensor: ...  # fmt: skip


@overload
def info_nce(
    query: Tensor, positive: Tensor, negatives: Tensor | None = ..., *,
    temperature: float | Tensor = ..., extra_negatives: Tensor | None = ...,
    extra_scale: float = ..., reduction: str = ..., negatives_layout: str = ...,
    return_stats: Literal[True], precision: str | None = ..., backend: str = ...,
    exclude_diagonal: bool = ...,
) -> InfoNCEOutput: ...  # fmt: skip


@overload
def info_nce(
    query: Tensor, positive: Tensor, negatives: Tensor | None = ..., *,
    temperature: float | Tensor = ..., extra_negatives: Tensor | None = ...,
    extra_scale: float = ..., reduction: str = ..., negatives_layout: str = ...,
    return_stats: bool, precision: str | None = ..., backend: str = ...,
    exclude_diagonal: bool = ...,
) -> Tensor | InfoNCEOutput: ...  # fmt: skip


def info_nce(
    query: Tensor, positive: Tensor, negatives: Tensor | None = None, *,
    temperature: float | Tensor = 0.07, extra_negatives: Tensor | None = None,
    extra_scale: float = 1.0, reduction: str = "mean", negatives_layout: str = "kd",
    return_stats: bool = False, precision: str | None = None, backend: str = "auto",
    exclude_diagonal: bool = False,
) -> Tensor | InfoNCEOutput:  # fmt: skip
    """InfoNCE with shared and extra negatives, in one pass and without an (N, K) logit matrix.

    loss_i = -log( exp(q·k/T) / (exp(q·k/T) + sum_j exp(q·n_j/T) + sum_m exp(extra_scale q·t_m/T)) )

    Vectors are taken as they are: normalise them first. Gradients reach every tensor input that
    asks for one. That of the query is made in the pass of the loss; that of shared negatives costs
    a second one. Composes with torch.compile(fullgraph=True). Only first derivatives, backward.

    Args:
        query: (N, D) float32, bfloat16, float16 or float64 (which the torch backend serves).
        positive: (N, D), the key of each query.
        negatives: (K, D) shared by all queries, K ≥ 0, any strides; None: the others' positives.
        temperature: T, a float above 0 or a 0-d tensor on the same device (on CUDA its value is
            not checked: that would wait for it).
        extra_negatives: (N, M, D), M ≥ 0, of each query alone.
        extra_scale: factor on the similarity to these, inside the exponent (the method's alpha).
        reduction: "mean", "sum" or "none".
        negatives_layout: "kd" for (K, D), "dk" for (D, K), the MoCo family's, read in place.
        return_stats: True returns InfoNCEOutput instead of the loss.
        precision: of float32 products: "ieee" (also None), "tf32" (Triton only), "bf16" (inputs
            rounded to bfloat16). Unlike dtypes are promoted. Where autocast is on, float32 inputs
            are rounded to its dtype unless precision is given. Sums are float32 throughout.
        backend: "auto" (Triton on CUDA, torch elsewhere), "triton" or "torch".
        exclude_diagonal: query i is not compared with negatives[i], as where the negatives begin
            with the queries or their positives. Without `negatives` it is always so. One row alone
            then has only `extra_negatives`, and is refused without them.
    Returns:
        the loss, float32 (float64 for float64 inputs), () or (N,) by `reduction`; or InfoNCEOutput.
    Raises:
        ValueError: shapes, dtypes, devices or options disagree; a row is compared with itself only.
        RuntimeError: the backend asked for cannot run here.
    Source: van den Oord et al. 2018, arXiv:1807.03748; He et al. 2020, arXiv:1911.05722; Ge et al.
    2021, arXiv:2110.14189.
    """
    check_options(reduction, negatives_layout, negatives is None, precision)
    alone = negatives is None or exclude_diagonal
    shared = _shared(positive, negatives, negatives_layout)
    tensors = query, positive, shared, extra_negatives
    check_tensors(*tensors, extra_scale)
    check_negatives(query, shared, extra_negatives, alone)
    check_temperature(temperature, query.device)
    outputs = _rows(*tensors, temperature, extra_scale, alone, precision, backend)
    return _reduced(outputs, reduction, return_stats)


def _shared(positive, negatives, layout):
    """The shared negatives as (K, D), of whatever layout, or in-batch."""
    if negatives is None:
        return positive
    if layout == "dk":
        check_dim("negatives", negatives, 2, "(D, K)")
        return negatives.t()
    return negatives


def _rows(
    query, positive, negatives, extra, temperature, extra_scale,
    exclude_diagonal, precision, backend,
):  # fmt: skip
    """The operator's outputs for checked inputs."""
    learned = isinstance(temperature, torch.Tensor)
    _refuse_tangents(query, positive, negatives, extra, temperature if learned else None)
    wants_grad = torch.is_grad_enabled() and (
        query.requires_grad or (learned and temperature.requires_grad)
    )
    return torch.ops.fastneg.info_nce(
        query,
        positive,
        negatives,
        extra,
        temperature if learned else None,
        1.0 if learned else float(temperature),
        float(extra_scale),
        exclude_diagonal,
        _operand(query, positive, negatives, extra, precision),
        wants_grad,
        backend,
    )


def _reduced(outputs, reduction, return_stats):
    rows, lse, rank, positive_logit, *_ = outputs
    loss = {"mean": torch.mean, "sum": torch.sum, "none": torch.clone}[reduction](rows)
    if not return_stats:
        return loss
    acc1, acc5 = (rank < 1).float().mean(), (rank < 5).float().mean()
    return InfoNCEOutput(loss, rank, acc1, acc5, lse.detach(), positive_logit.detach())


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


def _operand(query, positive, negatives, extra, precision):
    """What the products are taken in: "float64", "float32", "tf32", "bfloat16" or "float16"."""
    dtype = torch.promote_types(torch.promote_types(query.dtype, positive.dtype), negatives.dtype)
    if extra is not None:
        dtype = torch.promote_types(dtype, extra.dtype)
    if precision is not None:
        if dtype != torch.float32:
            raise ValueError(
                f"precision is {precision!r} but the inputs are {dtype}: it says how float32 is "
                "multiplied; leave it at None."
            )
        return {"ieee": "float32", "tf32": "tf32", "bf16": "bfloat16"}[precision]
    device = query.device.type
    if dtype == torch.float32 and torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
    return str(dtype).removeprefix("torch.")


# --- the operators --------------------------------------------------------------------------------
# Opaque to torch.compile, which sees shapes and gradient formulas only. The backend is chosen
# inside, at run time.


@torch.library.custom_op(
    "fastneg::info_nce",
    mutates_args=(),
    schema="(Tensor query, Tensor positive, Tensor negatives, Tensor? extra, Tensor? "
    "temperature, float temperature_value, float extra_scale, bool exclude_diagonal, str "
    "operand, bool with_grad, str backend) -> (Tensor loss, Tensor lse, Tensor rank, "
    "Tensor positive_logit, Tensor top, Tensor total, Tensor extra_weights, Tensor dq)",
)
def _forward(
    query, positive, negatives, extra, temperature, temperature_value, extra_scale,
    exclude_diagonal, operand, with_grad, backend,
):  # fmt: skip
    implementation, kind = _implementation(query, operand, backend)
    temperature = temperature_value if temperature is None else temperature
    with torch.autocast(query.device.type, enabled=False):
        return implementation.forward(
            query,
            positive,
            negatives,
            extra,
            temperature,
            extra_scale,
            exclude_diagonal,
            kind,
            with_grad,
        )


@_forward.register_fake
def _(
    query, positive, negatives, extra, temperature, temperature_value, extra_scale,
    exclude_diagonal, operand, with_grad, backend,
):  # fmt: skip
    rows, dim = query.shape
    wide = torch.float64 if operand == "float64" else torch.float32
    row = lambda dtype=wide: query.new_empty(rows, dtype=dtype)
    extra_weights = query.new_empty(rows, 0 if extra is None else extra.shape[1], dtype=wide)
    dq = query.new_empty(rows if with_grad else 0, dim, dtype=wide)
    return row(), row(), row(torch.int64), row(), row(), row(), extra_weights, dq


@torch.library.custom_op(
    "fastneg::info_nce_negatives_grad",
    mutates_args=(),
    schema="(Tensor query, Tensor negatives, Tensor top, Tensor weight, Tensor? temperature, "
    "float temperature_value, bool exclude_diagonal, str operand, str backend) -> Tensor",
)
def _negatives_grad(
    query, negatives, top, weight, temperature, temperature_value,
    exclude_diagonal, operand, backend,
):  # fmt: skip
    implementation, kind = _implementation(query, operand, backend)
    temperature = temperature_value if temperature is None else temperature
    with torch.autocast(query.device.type, enabled=False):
        return implementation.negatives_grad(
            query, negatives, top, weight, temperature, exclude_diagonal, kind
        )


@_negatives_grad.register_fake
def _(
    query, negatives, top, weight, temperature, temperature_value,
    exclude_diagonal, operand, backend,
):  # fmt: skip
    return negatives.new_empty(negatives.shape)


def _implementation(query, operand, backend):
    """The module that runs this call, and `operand` as that module takes it."""
    if operand == "float64":
        if backend == "triton":
            raise ValueError(
                'backend is "triton" but only the torch backend takes float64: convert the '
                'inputs, or pass "auto".'
            )
        backend = "torch"
    if resolve_backend(query, backend) == "triton":
        from . import info_nce_triton  # not at the top: importing fastneg must not import Triton

        return info_nce_triton, operand
    if operand == "tf32":
        raise ValueError(
            f'precision is "tf32", which the torch backend (chosen for {query.device}) does not '
            'offer: pass "ieee" or "bf16".'
        )
    return info_nce_torch, getattr(torch, operand)


_forward.register_autograd(info_nce_grad.backward, setup_context=info_nce_grad.setup_context)
