"""InfoNCE in one pass over the negatives: the contract, the checks, the gradients and the choice of backend.

Shapes: N batch, K shared negatives (the queue), M private negatives per query, D feature dimension.
The derivation is in docs/kernels.md; the two implementations are info_nce_torch.py and info_nce_triton.py.
"""

import math
from typing import NamedTuple

import torch
from torch.autograd import forward_ad

from . import info_nce_torch
from .backend import resolve_backend

REDUCTIONS = ("mean", "sum", "none")
LAYOUTS = ("kd", "dk")
PRECISIONS = ("ieee", "tf32", "bf16")
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


class InfoNCEOutput(NamedTuple):
    """The loss and what the same pass knows about it; everything but the loss is detached."""

    loss: torch.Tensor
    """float32 (float64 for float64 inputs), () or (N,) by `reduction`."""
    rank: torch.Tensor
    """(N,) int64: how many negatives have a strictly greater logit than the positive; the number of negatives where the loss is NaN."""
    acc1: torch.Tensor
    """() float32 in [0, 1]: the share of rows whose rank is 0."""
    acc5: torch.Tensor
    """() float32 in [0, 1]: the share of rows whose rank is below 5."""
    lse: torch.Tensor
    """(N,): the log-sum-exp of all logits of a row, the positive among them."""
    positive_logit: torch.Tensor
    """(N,): query·positive / temperature."""


def info_nce(
    query,
    positive,
    negatives=None,
    *,
    temperature=0.07,
    extra_negatives=None,
    extra_scale=1.0,
    reduction="mean",
    negatives_layout="kd",
    return_stats=False,
    precision=None,
    backend="auto",
    exclude_diagonal=False,
):
    """InfoNCE with shared and private negatives, in one pass and without an (N, K) logit matrix.

    loss_i = -log( exp(q·k/T) / (exp(q·k/T) + sum_j exp(q·n_j/T) + sum_m exp(extra_scale q·t_m/T)) )

    Gradients reach every tensor input that asks for one. dloss/dquery is accumulated in the same pass as the loss, so a backward
    to the query is one multiplication; shared negatives that require a gradient cost a second pass that recomputes the logits.
    Vectors are taken as they are: normalise them first. Composes with torch.compile(fullgraph=True). Double backward and forward mode are
    refused.

    Args:
        query: (N, D) float32, bfloat16, float16 or float64 (float64 is served by the torch backend).
        positive: (N, D), the key of each query.
        negatives: (K, D) shared by all queries, K ≥ 0, any strides; None: the positives of the other rows.
        temperature: T, a float above 0 or a 0-d tensor on the same device (its sign is not checked: that would wait for the device).
        extra_negatives: (N, M, D), M ≥ 0, private to each query.
        extra_scale: factor on the similarity to the extra negatives, inside the exponent (the alpha of the method).
        reduction: "mean", "sum" or "none".
        negatives_layout: "kd" for (K, D), "dk" for (D, K), the queue of the MoCo family; read in place.
        return_stats: True returns InfoNCEOutput instead of the loss.
        precision: how float32 products are taken: "ieee" (also None), "tf32" (Triton only), "bf16" (inputs rounded to bfloat16).
            Inputs of unlike dtypes are promoted; where autocast is on, float32 inputs are rounded to its dtype unless precision is
            given. Half-precision inputs are multiplied as they are. Sums are float32 throughout.
        backend: "auto" (Triton on CUDA, torch elsewhere), "triton" or "torch".
        exclude_diagonal: query i is not compared with negatives[i], as where the negatives begin with the queries or their positives.
            Without `negatives` it is always so.
    Returns:
        the loss, float32 (float64 for float64 inputs), () or (N,) by `reduction`; or InfoNCEOutput.
    Raises:
        ValueError: shapes, dtypes, devices or options disagree.
        RuntimeError: the backend asked for cannot run here.
    Source: van den Oord et al. 2018, arXiv:1807.03748; He et al. 2020, arXiv:1911.05722; Ge et al. 2021, arXiv:2110.14189.
    """
    in_batch = negatives is None
    _check_options(reduction, negatives_layout, in_batch, precision)
    if in_batch:
        negatives = positive
    elif negatives_layout == "dk":
        _check_dim("negatives", negatives, 2, "(D, K)")
        negatives = negatives.t()
    _check_tensors(query, positive, negatives, extra_negatives, extra_scale)
    learned = isinstance(temperature, torch.Tensor)
    _check_temperature(temperature, query)
    _refuse_tangents(query, positive, negatives, extra_negatives, temperature if learned else None)
    operand = _operand(query, positive, negatives, extra_negatives, precision)
    wants_grad = torch.is_grad_enabled() and (query.requires_grad or (learned and temperature.requires_grad))
    rows, lse, rank, positive_logit, _, _ = torch.ops.fastneg.info_nce(
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


# --- checks ------------------------------------------------------------------------------------------------------------------


def _check_options(reduction, negatives_layout, in_batch, precision):
    for name, value, choices in (("reduction", reduction, REDUCTIONS), ("negatives_layout", negatives_layout, LAYOUTS)):
        if value not in choices:
            raise ValueError(f"{name} is {value!r}: one of {', '.join(map(repr, choices))} was expected.")
    if in_batch and negatives_layout != "kd":
        raise ValueError(f"negatives_layout is {negatives_layout!r} but there are no negatives to lay out: leave it at its default.")
    if precision is not None and precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}: None or one of {', '.join(map(repr, PRECISIONS))} was expected.")


def _check_dim(name, tensor, dim, shape):
    if tensor.dim() != dim:
        raise ValueError(f"{name} are {tuple(tensor.shape)}: {shape} was expected.")


def _check_tensors(query, positive, negatives, extras, extra_scale):
    if query.dim() != 2 or query.shape[0] == 0 or query.shape[1] == 0:
        raise ValueError(f"query is {tuple(query.shape)}: (N, D) with at least one row and one column was expected.")
    rows, dim = query.shape
    if positive.shape != query.shape:
        raise ValueError(
            f"positive is {tuple(positive.shape)} but query is {tuple(query.shape)}: each query has one positive of its shape."
        )
    _check_dim("negatives", negatives, 2, '(K, D), or (D, K) with negatives_layout="dk",')
    if extras is not None:
        _check_dim("extra_negatives", extras, 3, "(N, M, D)")
        if extras.shape[0] != rows:
            raise ValueError(f"extra_negatives are {tuple(extras.shape)} but query has {rows} rows: each row needs its own.")
    elif extra_scale != 1.0:
        raise ValueError(f"extra_scale is {extra_scale} but there are no extra_negatives for it to scale.")
    if not math.isfinite(extra_scale):
        raise ValueError(f"extra_scale is {extra_scale}: a finite number was expected.")
    named = {"positive": positive, "negatives": negatives, "extra_negatives": extras}
    for name, tensor in named.items():
        if tensor is not None and (tensor.shape[-1] != dim or tensor.device != query.device):
            raise ValueError(
                f"query is {tuple(query.shape)} on {query.device} but {name} are {tuple(tensor.shape)} on {tensor.device}: "
                "both need the same feature dimension and device."
            )
    for name, tensor in {"query": query, **named}.items():
        if tensor is not None and tensor.dtype not in DTYPES:
            raise ValueError(f"{name} has dtype {tensor.dtype}: float32, bfloat16, float16 or float64 was expected.")


def _check_temperature(temperature, query):
    if isinstance(temperature, torch.Tensor):
        if temperature.dim() != 0 or temperature.device != query.device or not temperature.is_floating_point():
            raise ValueError(
                f"temperature is a {tuple(temperature.shape)} {temperature.dtype} tensor on {temperature.device}: "
                f"a 0-d floating-point tensor on {query.device}, or a float, was expected."
            )
    elif not 0 < temperature < math.inf:
        raise ValueError(f"temperature is {temperature}: a finite number above 0 was expected.")


def _refuse_tangents(*inputs):
    """Forward mode differentiation would take the operator for a constant and give zeros."""
    if torch.compiler.is_compiling():
        return
    if any(tensor is not None and forward_ad.unpack_dual(tensor).tangent is not None for tensor in inputs):
        raise RuntimeError("info_nce got an input with a tangent (torch.func.jvp, dual numbers): only backward gradients are implemented.")


def _operand(query, positive, negatives, extras, precision):
    """What the products are taken in: "float64", "float32", "tf32", "bfloat16" or "float16"."""
    dtype = torch.promote_types(torch.promote_types(query.dtype, positive.dtype), negatives.dtype)
    if extras is not None:
        dtype = torch.promote_types(dtype, extras.dtype)
    if precision is not None:
        if dtype != torch.float32:
            raise ValueError(f"precision is {precision!r} but the inputs are {dtype}: it says how float32 is multiplied; leave it at None.")
        return {"ieee": "float32", "tf32": "tf32", "bf16": "bfloat16"}[precision]
    device = query.device.type
    if dtype == torch.float32 and torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
    return str(dtype).removeprefix("torch.")


# --- the operators -----------------------------------------------------------------------------------------------------------
# Opaque to torch.compile, which sees shapes and gradient formulas only. The backend is chosen inside, at run time.


@torch.library.custom_op(
    "fastneg::info_nce",
    mutates_args=(),
    schema="(Tensor query, Tensor positive, Tensor negatives, Tensor? extras, Tensor? temperature, float temperature_value, "
    "float extra_scale, bool exclude_diagonal, str operand, bool with_grad, str backend) "
    "-> (Tensor loss, Tensor lse, Tensor rank, Tensor positive_logit, Tensor extra_logits, Tensor dq)",
)
def _forward(
    query, positive, negatives, extras, temperature, temperature_value, extra_scale, exclude_diagonal, operand, with_grad, backend
):
    implementation, kind = _implementation(query, operand, backend)
    temperature = temperature_value if temperature is None else temperature
    with torch.autocast(query.device.type, enabled=False):
        return implementation.forward(query, positive, negatives, extras, temperature, extra_scale, exclude_diagonal, kind, with_grad)


@_forward.register_fake
def _(query, positive, negatives, extras, temperature, temperature_value, extra_scale, exclude_diagonal, operand, with_grad, backend):
    rows, dim = query.shape
    wide = torch.float64 if operand == "float64" else torch.float32
    row = lambda dtype=wide: query.new_empty(rows, dtype=dtype)
    extra_logits = query.new_empty(rows, 0 if extras is None else extras.shape[1], dtype=wide)
    return row(), row(), row(torch.int64), row(), extra_logits, query.new_empty(rows if with_grad else 0, dim, dtype=wide)


@torch.library.custom_op(
    "fastneg::info_nce_negatives_grad",
    mutates_args=(),
    schema="(Tensor query, Tensor negatives, Tensor lse, Tensor weight, Tensor? temperature, float temperature_value, "
    "bool exclude_diagonal, str operand, str backend) -> Tensor",
)
def _negatives_grad(query, negatives, lse, weight, temperature, temperature_value, exclude_diagonal, operand, backend):
    implementation, kind = _implementation(query, operand, backend)
    temperature = temperature_value if temperature is None else temperature
    with torch.autocast(query.device.type, enabled=False):
        return implementation.negatives_grad(query, negatives, lse, weight, temperature, exclude_diagonal, kind)


@_negatives_grad.register_fake
def _(query, negatives, lse, weight, temperature, temperature_value, exclude_diagonal, operand, backend):
    return negatives.new_empty(negatives.shape)


def _implementation(query, operand, backend):
    """The module that runs this call, and `operand` as that module takes it."""
    if operand == "float64":
        if backend == "triton":
            raise ValueError('backend is "triton" but only the torch backend takes float64: convert the inputs, or pass "auto".')
        backend = "torch"
    if resolve_backend(query, backend) == "triton":
        from . import info_nce_triton  # not at the top: importing fastneg must not import Triton

        return info_nce_triton, operand
    if operand == "tf32":
        raise ValueError(f'precision is "tf32", which the torch backend (chosen for {query.device}) does not offer: pass "ieee" or "bf16".')
    return info_nce_torch, getattr(torch, operand)


# --- gradients ---------------------------------------------------------------------------------------------------------------
# With p the softmax over all logits of a row and dloss/dl_pos = p_pos - 1 = expm1(-loss):
#   dloss/dpositive = expm1(-loss) / T * q              dloss/dn_j = p_j / T * q
#   dloss/dt_m      = p_m extra_scale / T * q           dloss/dT   = -(q · dloss/dq) / T, since the loss depends on q / T alone


def _setup_context(ctx, inputs, output):
    query, _, negatives, _, temperature, value, extra_scale, exclude_diagonal, operand, _, backend = inputs
    loss, lse, rank, _, extra_logits, dq = output
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(rank)
    ctx.save_for_backward(query, negatives if ctx.needs_input_grad[2] else None, temperature, loss, lse, extra_logits, dq)
    ctx.settings = value, extra_scale, exclude_diagonal, operand, backend
    ctx.dtypes = tuple(None if tensor is None else tensor.dtype for tensor in inputs[:5])


def _backward(ctx, g_loss, g_lse, g_rank, g_positive_logit, g_extra_logits, g_dq):
    if any(g is not None for g in (g_lse, g_positive_logit, g_extra_logits, g_dq)):
        raise RuntimeError("info_nce was differentiated twice: only first derivatives of its loss are implemented.")
    if g_loss is None:
        return (None,) * 11
    query, negatives, temperature, loss, lse, extra_logits, dq = ctx.saved_tensors
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
    if to_negatives:
        grads[2] = torch.ops.fastneg.info_nce_negatives_grad(
            query, negatives, lse, weight, temperature, value, exclude_diagonal, operand, backend
        )
    if to_extras:
        share = torch.exp(extra_logits - lse[:, None]) * (weight * extra_scale)[:, None]
        grads[3] = (share[:, :, None] * wide[:, None, :]).to(ctx.dtypes[3])
    if to_temperature:
        grads[4] = -((wide * dq).sum(1) * weight).sum().to(ctx.dtypes[4])
    return tuple(grads)


_forward.register_autograd(_backward, setup_context=_setup_context)
