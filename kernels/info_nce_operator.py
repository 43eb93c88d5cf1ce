"""The operators behind info_nce: opaque to torch.compile, which sees shapes and gradient formulas
only. The backend is chosen inside, at run time.

Shapes: N batch, K shared negatives, M extra negatives per query, D feature dimension.
"""

import torch

from . import info_nce_grad, info_nce_torch
from .backend import product_backend
from .gradients import differentiable
from .info_nce_call import LeftOut, Wanted, wide_dtype
from .operators import operator, without_autocast


def _forward_shapes(
    query, positive, negatives, extra, temperature, mask, query_labels, negative_labels,
    temperature_value, extra_scale, exclude_diagonal, normalised, operand, with_grad, with_rank,
    backend,
):  # fmt: skip
    rows, dim = query.shape
    wide = wide_dtype(operand)
    row = lambda dtype=wide: query.new_empty(rows, dtype=dtype)
    rank = query.new_empty(rows if with_rank else 0, dtype=torch.int64)
    extra_weights = query.new_empty(rows, 0 if extra is None else extra.shape[1], dtype=wide)
    dq = query.new_empty(rows if with_grad else 0, dim, dtype=wide)
    return row(), row(), rank, row(), row(), row(), extra_weights, dq


@operator(
    "info_nce",
    "(Tensor query, Tensor positive, Tensor negatives, Tensor? extra, Tensor? "
    "temperature, Tensor? mask, Tensor? query_labels, Tensor? negative_labels, "
    "float temperature_value, float extra_scale, bool exclude_diagonal, bool normalised, str "
    "operand, bool with_grad, bool with_rank, str backend) -> (Tensor loss, Tensor lse, "
    "Tensor rank, Tensor positive_logit, Tensor top, Tensor total, Tensor extra_weights, "
    "Tensor dq)",
    _forward_shapes,
)
def forward(
    query, positive, negatives, extra, temperature, mask, query_labels, negative_labels,
    temperature_value, extra_scale, exclude_diagonal, normalised, operand, with_grad, with_rank,
    backend,
):  # fmt: skip
    implementation, kind = _implementation(query, operand, backend)
    temperature = temperature_value if temperature is None else temperature
    with without_autocast(query):
        return implementation.forward(
            query,
            positive,
            negatives,
            extra,
            temperature,
            extra_scale,
            LeftOut(exclude_diagonal, mask, query_labels, negative_labels),
            kind,
            Wanted(with_grad, with_rank, normalised),
        )


def _negatives_grad_shapes(
    query, negatives, top, weight, temperature, mask, query_labels, negative_labels,
    temperature_value, exclude_diagonal, operand, backend,
):  # fmt: skip
    return negatives.new_empty(negatives.shape)


@operator(
    "info_nce_negatives_grad",
    "(Tensor query, Tensor negatives, Tensor top, Tensor weight, Tensor? temperature, "
    "Tensor? mask, Tensor? query_labels, Tensor? negative_labels, float temperature_value, "
    "bool exclude_diagonal, str operand, str backend) -> Tensor",
    _negatives_grad_shapes,
)
def negatives_grad(
    query, negatives, top, weight, temperature, mask, query_labels, negative_labels,
    temperature_value, exclude_diagonal, operand, backend,
):  # fmt: skip
    implementation, kind = _implementation(query, operand, backend)
    temperature = temperature_value if temperature is None else temperature
    left_out = LeftOut(exclude_diagonal, mask, query_labels, negative_labels)
    with without_autocast(query):
        return implementation.negatives_grad(
            query, negatives, top, weight, temperature, left_out, kind
        )


def _implementation(query, operand, backend):
    """The module that runs this call, and `operand` as that module takes it."""
    if product_backend(query, operand, backend) == "triton":
        from . import info_nce_triton  # not at the top: importing fastneg must not import Triton

        return info_nce_triton, operand
    return info_nce_torch, getattr(torch, operand)


torch.library.register_autograd(
    "fastneg::info_nce", info_nce_grad.backward, setup_context=info_nce_grad.setup_context
)


def _below_autograd(*inputs):
    with torch._C._AutoDispatchBelowAutograd():
        return torch.ops.fastneg.info_nce.default(*inputs)


_with_gradients = differentiable(
    _below_autograd, info_nce_grad.setup_context, info_nce_grad.backward
)


def rows_of(*inputs):
    """The outputs of the operator, with their gradients.

    torch.compile sees the operator itself. Called one by one, the gradient that is registered with
    an operator takes more of the host's time than the rest of the call.
    """
    if torch.compiler.is_compiling():
        return torch.ops.fastneg.info_nce(*inputs)
    return _with_gradients(*inputs) if torch.is_grad_enabled() else _below_autograd(*inputs)
