"""The gradients of info_nce from what its forward pass kept; the formulas are derived in
docs/kernels.md.

Shapes: N batch, K shared negatives, M extra negatives per query, D feature dimension.
"""

import torch

# With p the softmax over all logits of a row and dloss/dl_pos = p_pos - 1 = expm1(-loss):
#   dloss/dpositive = expm1(-loss) / T * q              dloss/dn_j = p_j / T * q
#   dloss/dt_m      = p_m extra_scale / T * q
#   dloss/dT        = -(q · dloss/dq) / T, since the loss depends on q / T alone
# With `top` the greatest logit of the negatives and `total` the sum of their exp(l - top), p_j is
# exp(l_j - top) times -expm1(-loss) / total. As exp(l_j - lse) it would lose the digits that lse
# has not: a float32 near 1e5 is known to 4e-3.


def setup_context(ctx, inputs, output):
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


def backward(ctx, g_loss, *g_others):
    if any(g is not None for g in g_others):
        raise RuntimeError(
            "info_nce was differentiated twice: only first derivatives of its loss are implemented."
        )
    if g_loss is None:
        return (None,) * 11
    query, negatives, temperature, loss, top, total, extra_weights, dq = ctx.saved_tensors
    value, extra_scale, exclude_diagonal, operand, backend = ctx.settings
    to_query, to_positive, to_negatives, to_extra, to_temperature = ctx.needs_input_grad[:5]
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
    if to_extra:
        share = extra_weights * (share * extra_scale)[:, None]
        grads[3] = (share[:, :, None] * wide[:, None, :]).to(ctx.dtypes[3])
    if to_temperature:
        grads[4] = -((wide * dq).sum(1) * weight).sum().to(ctx.dtypes[4])
    return tuple(grads)
