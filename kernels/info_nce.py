"""InfoNCE in one pass over the negatives: the contract, the checks, the gradients and the choice of
backend.

Shapes: N batch, K shared negatives (the queue), M private negatives per query, D feature dimension.
The derivation is in docs/kernels.md; the two implementations are info_nce_torch.py and
info_nce_triton.py.
"""

from typing import Literal, NamedTuple, overload

import torch
from torch.autograd import forward_ad

from . import info_nce_torch
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
    query: torch.Tensor,
    positive: torch.Tensor,
    negatives: torch.Tensor | None = ...,
    *,
    temperature: float | torch.Tensor = ...,
    extra_negatives: torch.Tensor | None = ...,
    extra_scale: float = ...,
    reduction: str = ...,
    negatives_layout: str = ...,
    return_stats: Literal[False] = ...,
    precision: str | None = ...,
    backend: str = ...,
    exclude_diagonal: bool = ...,
) -> torch.Tensor: ...


@overload
def info_nce(
    query: torch.Tensor,
    positive: torch.Tensor,
    negatives: torch.Tensor | None = ...,
    *,
    temperature: float | torch.Tensor = ...,
    extra_negatives: torch.Tensor | None = ...,
    extra_scale: float = ...,
    reduction: str = ...,
    negatives_layout: str = ...,
    return_stats: Literal[True],
    precision: str | None = ...,
    backend: str = ...,
    exclude_diagonal: bool = ...,
) -> InfoNCEOutput: ...


@overload
def info_nce(
    query: torch.Tensor,
    positive: torch.Tensor,
    negatives: torch.Tensor | None = ...,
    *,
    temperature: float | torch.Tensor = ...,
    extra_negatives: torch.Tensor | None = ...,
    extra_scale: float = ...,
    reduction: str = ...,
    negatives_layout: str = ...,
    return_stats: bool,
    precision: str | None = ...,
    backend: str = ...,
    exclude_diagonal: bool = ...,
) -> torch.Tensor | InfoNCEOutput: ...


def info_nce(
    query: torch.Tensor,
    positive: torch.Tensor,
    negatives: torch.Tensor | None = None,
    *,
    temperature: float | torch.Tensor = 0.07,
    extra_negatives: torch.Tensor | None = None,
    extra_scale: float = 1.0,
    reduction: str = "mean",
    negatives_layout: str = "kd",
    return_stats: bool = False,
    precision: str | None = None,
    backend: str = "auto",
    exclude_diagonal: bool = False,
) -> torch.Tensor | InfoNCEOutput:
    """InfoNCE with shared and private negatives, in one pass and without an (N, K) logit matrix.

    loss_i = -log( exp(q·k/T) / (exp(q·k/T) + sum_j exp(q·n_j/T) + sum_m exp(extra_scale q·t_m/T)) )

    Gradients reach every tensor input that asks for one. dloss/dquery is accumulated in the same
    pass as the loss, so a backward to the query is one multiplication; shared negatives that
    require a gradient cost a second pass that recomputes the logits. Vectors are taken as they are:
    normalise them first. Composes with torch.compile(fullgraph=True). Double backward and forward
    mode are refused.

    Args:
        query: (N, D) float32, bfloat16, float16 or float64 (float64 is served by the torch
            backend).
        positive: (N, D), the key of each query.
        negatives: (K, D) shared by all queries, K ≥ 0, any strides; None: the positives of the
            other rows.
        temperature: T, a float above 0 or a 0-d tensor on the same device (on CUDA its value is not
            checked: that would wait for it).
        extra_negatives: (N, M, D), M ≥ 0, private to each query.
        extra_scale: factor on the similarity to the extra negatives, inside the exponent (the alpha
            of the method).
        reduction: "mean", "sum" or "none".
        negatives_layout: "kd" for (K, D), "dk" for (D, K), the queue of the MoCo family; read in
            place.
        return_stats: True returns InfoNCEOutput instead of the loss.
        precision: how float32 products are taken: "ieee" (also None), "tf32" (Triton only), "bf16"
            (inputs rounded to bfloat16). Inputs of unlike dtypes are promoted; where autocast is
            on, float32 inputs are rounded to its dtype unless precision is given. Half-precision
            inputs are multiplied as they are. Sums are float32 throughout.
        backend: "auto" (Triton on CUDA, torch elsewhere), "triton" or "torch".
        exclude_diagonal: query i is not compared with negatives[i], as where the negatives begin
            with the queries or their positives. Without `negatives` it is always so. One row alone
            then has only `extra_negatives`, and is refused without them.
    Returns:
        the loss, float32 (float64 for float64 inputs), () or (N,) by `reduction`; or InfoNCEOutput.
    Raises:
        ValueError: shapes, dtypes, devices or options disagree, or one row is compared with itself
            alone.
        RuntimeError: the backend asked for cannot run here.
    Source: van den Oord et al. 2018, arXiv:1807.03748; He et al. 2020, arXiv:1911.05722; Ge et al.
    2021, arXiv:2110.14189.
    """
    in_batch = negatives is None
    check_options(reduction, negatives_layout, in_batch, precision)
    if in_batch:
        negatives = positive
    elif negatives_layout == "dk":
        check_dim("negatives", negatives, 2, "(D, K)")
        negatives = negatives.t()
    check_tensors(query, positive, negatives, extra_negatives, extra_scale)
    check_negatives(query, negatives, extra_negatives, in_batch or exclude_diagonal)
    learned = isinstance(temperature, torch.Tensor)
    check_temperature(temperature, query.device)
    _refuse_tangents(query, positive, negatives, extra_negatives, temperature if learned else None)
    operand = _operand(query, positive, negatives, extra_negatives, precision)
    wants_grad = torch.is_grad_enabled() and (
        query.requires_grad or (learned and temperature.requires_grad)
    )
    rows, lse, rank, positive_logit, *_ = torch.ops.fastneg.info_nce(
        query,
        positive,
        negatives,
        extra_negatives,
        temperature if learned else None,
        1.0 if learned else float(temperature),
        float(extra_scale),
        in_batch or exclude_diagonal,
        operand,
        wants_grad,
        backend,
    )
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


def _operand(query, positive, negatives, extras, precision):
    """What the products are taken in: "float64", "float32", "tf32", "bfloat16" or "float16"."""
    dtype = torch.promote_types(torch.promote_types(query.dtype, positive.dtype), negatives.dtype)
    if extras is not None:
        dtype = torch.promote_types(dtype, extras.dtype)
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
    schema="(Tensor query, Tensor positive, Tensor negatives, Tensor? extras, Tensor? "
    "temperature, float temperature_value, float extra_scale, bool exclude_diagonal, str "
    "operand, bool with_grad, str backend) -> (Tensor loss, Tensor lse, Tensor rank, "
    "Tensor positive_logit, Tensor top, Tensor total, Tensor extra_weights, Tensor dq)",
)
def _forward(
    query,
    positive,
    negatives,
    extras,
    temperature,
    temperature_value,
    extra_scale,
    exclude_diagonal,
    operand,
    with_grad,
    backend,
):
    implementation, kind = _implementation(query, operand, backend)
    temperature = temperature_value if temperature is None else temperature
    with torch.autocast(query.device.type, enabled=False):
        return implementation.forward(
            query,
            positive,
            negatives,
            extras,
            temperature,
            extra_scale,
            exclude_diagonal,
            kind,
            with_grad,
        )


@_forward.register_fake
def _(
    query,
    positive,
    negatives,
    extras,
    temperature,
    temperature_value,
    extra_scale,
    exclude_diagonal,
    operand,
    with_grad,
    backend,
):
    rows, dim = query.shape
    wide = torch.float64 if operand == "float64" else torch.float32
    row = lambda dtype=wide: query.new_empty(rows, dtype=dtype)
    extra_weights = query.new_empty(rows, 0 if extras is None else extras.shape[1], dtype=wide)
    dq = query.new_empty(rows if with_grad else 0, dim, dtype=wide)
    return row(), row(), row(torch.int64), row(), row(), row(), extra_weights, dq


@torch.library.custom_op(
    "fastneg::info_nce_negatives_grad",
    mutates_args=(),
    schema="(Tensor query, Tensor negatives, Tensor top, Tensor weight, Tensor? temperature, "
    "float temperature_value, bool exclude_diagonal, str operand, str backend) -> Tensor",
)
def _negatives_grad(
    query,
    negatives,
    top,
    weight,
    temperature,
    temperature_value,
    exclude_diagonal,
    operand,
    backend,
):
    implementation, kind = _implementation(query, operand, backend)
    temperature = temperature_value if temperature is None else temperature
    with torch.autocast(query.device.type, enabled=False):
        return implementation.negatives_grad(
            query, negatives, top, weight, temperature, exclude_diagonal, kind
        )


@_negatives_grad.register_fake
def _(
    query,
    negatives,
    top,
    weight,
    temperature,
    temperature_value,
    exclude_diagonal,
    operand,
    backend,
):
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


# --- gradients ------------------------------------------------------------------------------------
# With p the softmax over all logits of a row and dloss/dl_pos = p_pos - 1 = expm1(-loss):
#   dloss/dpositive = expm1(-loss) / T * q              dloss/dn_j = p_j / T * q
#   dloss/dt_m      = p_m extra_scale / T * q
#   dloss/dT        = -(q · dloss/dq) / T, since the loss depends on q / T alone
# With `top` the greatest logit of the negatives and `total` the sum of their exp(l - top), p_j is
# exp(l_j - top) times -expm1(-loss) / total. As exp(l_j - lse) it would lose the digits that lse
# has not: a float32 near 1e5 is known to 4e-3.


def _setup_context(ctx, inputs, output):
    (
        query,
        _,
        negatives,
        _,
        temperature,
        value,
        extra_scale,
        exclude_diagonal,
        operand,
        _,
        backend,
    ) = inputs
    loss, _, rank, _, top, total, extra_weights, dq = output
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(rank)
    kept = negatives if ctx.needs_input_grad[2] else None
    ctx.save_for_backward(query, kept, temperature, loss, top, total, extra_weights, dq)
    ctx.settings = value, extra_scale, exclude_diagonal, operand, backend
    ctx.dtypes = tuple(None if tensor is None else tensor.dtype for tensor in inputs[:5])


def _backward(ctx, g_loss, *g_others):
    if any(g is not None for g in g_others):
        raise RuntimeError(
            "info_nce was differentiated twice: only first derivatives of its loss are implemented."
        )
    if g_loss is None:
        return (None,) * 11
    query, negatives, temperature, loss, top, total, extra_weights, dq = ctx.saved_tensors
    value, extra_scale, exclude_diagonal, operand, backend = ctx.settings
    to_query, to_positive, to_negatives, to_extras, to_temperature = ctx.needs_input_grad[:5]
    heat = value if temperature is None else temperature
    wide = query.to(torch.float32 if operand == "tf32" else getattr(torch, operand)).to(loss.dtype)
    weight = g_loss / heat
    grads = [None] * 11
    if to_query:
        grads[0] = (dq * g_loss[:, None]).to(ctx.dtypes[0])
    if to_positive:
        grads[1] = ((torch.expm1(-loss) * weight)[:, None] * wide).to(ctx.dtypes[1])
    # What exp(l - top) is multiplied by; 0 for a row without negatives, whose total is 0.
    share = torch.where(total == 0, total, -torch.expm1(-loss) / total) * weight
    if to_negatives:
        grads[2] = torch.ops.fastneg.info_nce_negatives_grad(
            query, negatives, top, share, temperature, value, exclude_diagonal, operand, backend
        )
    if to_extras:
        share = extra_weights * (share * extra_scale)[:, None]
        grads[3] = (share[:, :, None] * wide[:, None, :]).to(ctx.dtypes[3])
    if to_temperature:
        grads[4] = -((wide * dq).sum(1) * weight).sum().to(ctx.dtypes[4])
    return tuple(grads)


_forward.register_autograd(_backward, setup_context=_setup_context)
