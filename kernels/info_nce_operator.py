"""The operators behind info_nce, and its gradients from what the forward pass kept.

They are opaque to torch.compile, which sees shapes and gradient formulas only. The backend is
chosen inside, at run time. The formulas are derived in docs/explanation/loss.md.

Shapes: N batch, K shared negatives, M extra negatives per query, D feature dimension.
"""

import torch

from . import info_nce_torch
from .backend import product_backend
from .info_nce_call import LeftOut, Wanted, stored_dtype, wide_dtype
from .operators import differentiable, first_only, operator, without_autocast


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


# With p the softmax over all logits of a row and dloss/dl_pos = p_pos - 1 = expm1(-loss):
#   dloss/dpositive = expm1(-loss) / T * q              dloss/dn_j = p_j / T * q
#   dloss/dt_m      = p_m extra_scale / T * q
#   dloss/dT        = -(q · dloss/dq) / T, since the loss depends on q / T alone
# With `top` the greatest logit of the negatives and `total` the sum of their exp(l - top), p_j is
# exp(l_j - top) times -expm1(-loss) / total. As exp(l_j - lse) it would lose the digits that lse
# has not: a float32 near 1e5 is known to 4e-3.
# The other two outputs with a gradient are lse = loss + l_pos and l_pos = q·k / T:
#   dlse/dq = dloss/dq + k / T        dlse/dpositive = exp(-loss) / T * q
# and the gradients of the negatives of lse are those of the loss.
INPUTS = 16


def setup_context(ctx, inputs, output):
    query, positive, negatives, _, temperature, *left_out = inputs[:8]
    value, extra_scale, exclude_diagonal, _, operand, _, _, backend = inputs[8:]
    loss, _, rank, _, top, total, extra_weights, dq = output
    ctx.set_materialize_grads(False)
    # What else the pass leaves serves the gradients alone.
    ctx.mark_non_differentiable(rank, top, total, extra_weights, dq)
    kept = negatives if ctx.needs_input_grad[2] else None
    ctx.save_for_backward(
        query, positive, kept, temperature, *left_out, loss, top, total, extra_weights, dq
    )
    ctx.settings = value, extra_scale, exclude_diagonal, operand, backend
    ctx.dtypes = tuple(None if tensor is None else tensor.dtype for tensor in inputs[:5])


def backward(ctx, g_loss, g_lse, _rank, g_positive, *_):
    given = [g for g in (g_loss, g_lse, g_positive) if g is not None]
    if not given:
        return (None,) * INPUTS
    with torch.no_grad():
        grads = _gradients(ctx, g_loss, g_lse, g_positive)
    return first_only("info_nce", grads, (*given, ctx.saved_tensors[7]))


def _gradients(ctx, g_loss, g_lse, g_positive):
    """The gradients of all inputs. Only what is asked for is computed: each operation is a launch
    on a GPU, and in MoCo the query alone has a gradient."""
    query, positive, negatives, temperature, *left_out = ctx.saved_tensors[:7]
    loss, top, total, extra_weights, dq = ctx.saved_tensors[7:]
    value, extra_scale, exclude_diagonal, operand, backend = ctx.settings
    to_query, to_positive, to_negatives, to_extra, to_temperature = ctx.needs_input_grad[:5]
    heat = value if temperature is None else temperature
    dtype = stored_dtype(operand)
    softmax = _sum(g_loss, g_lse)  # what reaches the logits by way of the softmax,
    direct = _sum(g_lse, g_positive)  # and the positive logit besides
    grads = [None] * INPUTS
    to_q = wide = None  # gradient of the query, the query as the products took it
    if to_query or to_temperature:
        to_q = 0 if softmax is None else dq * softmax[:, None]
        if direct is not None:
            to_q = to_q + positive.to(dtype).to(loss.dtype) * (direct / heat)[:, None]
    if to_query:
        grads[0] = to_q.to(ctx.dtypes[0])
    if to_positive or to_temperature or to_extra:
        wide = query.to(dtype).to(loss.dtype)
    if to_positive:
        weight = _to_positive_logit(loss, g_loss, g_lse, g_positive) / heat
        grads[1] = (weight[:, None] * wide).to(ctx.dtypes[1])
    if to_temperature:
        grads[4] = -((wide * to_q).sum() / heat).to(ctx.dtypes[4])
    if softmax is None or not (to_negatives or to_extra):
        return grads
    # What exp(l - top) is multiplied by; 0 for a row without negatives, whose total is 0.
    share = torch.where(total == 0, total, -torch.expm1(-loss) / total) * (softmax / heat)
    if to_negatives:
        grads[2] = torch.ops.fastneg.info_nce_negatives_grad(
            query, negatives, top, share, temperature, *left_out,
            value, exclude_diagonal, operand, backend,
        )  # fmt: skip
    if to_extra:
        share = extra_weights * (share * extra_scale)[:, None]
        grads[3] = (share[:, :, None] * wide[:, None, :]).to(ctx.dtypes[3])
    return grads


def _to_positive_logit(loss, g_loss, g_lse, g_positive):
    weight = g_positive
    if g_loss is not None:
        weight = _sum(weight, g_loss * torch.expm1(-loss))
    if g_lse is not None:
        weight = _sum(weight, g_lse * torch.exp(-loss))
    return weight


def _sum(one, other):
    """one + other, where None is 0; None of two of them."""
    if one is None or other is None:
        return other if one is None else one
    return one + other


torch.library.register_autograd("fastneg::info_nce", backward, setup_context=setup_context)


def _below_autograd(*inputs):
    with torch._C._AutoDispatchBelowAutograd():
        return torch.ops.fastneg.info_nce.default(*inputs)


_with_gradients = differentiable(_below_autograd, setup_context, backward)


def rows_of(*inputs):
    """The outputs of the operator, with their gradients.

    torch.compile sees the operator itself. Called one by one, the gradient that is registered with
    an operator takes more of the host's time than the rest of the call.
    """
    if torch.compiler.is_compiling():
        return torch.ops.fastneg.info_nce(*inputs)
    return _with_gradients(*inputs) if torch.is_grad_enabled() else _below_autograd(*inputs)
