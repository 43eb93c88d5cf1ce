"""The symmetric loss of pairs, as CLIP's: in one sweep over the pairs, over one process or a ring.

Legend: n pairs of this process, N of all, D feature dimension, T temperature. l_ij = x_i·y_j / T.

The loss of row i is softplus(r_i - l_ii), with r_i the log-sum-exp of l_ij over j ≠ i, and that of
column j softplus(c_j - l_jj), with c_j the one over i ≠ j. One product gives both sums (2 n N D
operations). With the sums known the gradient is one more, and two products with it (6 n N D):

    W_ij = e^{l_ij - r_i} a_i + e^{l_ij - c_j} b_j, i ≠ j
    W_ii = -(a_i + b_i),    dx = W y / T,    dy = Wᵀ x / T

where a_i = g sigmoid(r_i - l_ii), g what reaches the row, taken as -g expm1(-loss_i), which keeps
its digits where the loss is small; b likewise of columns. Two calls of `info_nce` would take
16 n N D. The sums and the products are those of kernels/pairs.py.
"""

from __future__ import annotations

import torch
from torch.nn.functional import softplus

from fastneg.kernels.operators import differentiable, first_only
from fastneg.kernels.pairs import pair_sums, softmax_pairs
from fastneg.losses.ring import Ring, in_full_precision, in_operand


def symmetric_losses(first, second, temperature, ring=False, operand="float64", backend="auto"):
    """(rows, columns): the loss of each pair as a row and as a column, (n,) each.

    Args:
        first, second: (n, D), as many in each process.
        temperature: 0-d tensor of the dtype of the losses.
        ring: whether the pairs of all processes meet.
        operand, backend: as in `pair_sums`.
    """
    found = _symmetric(first, second, temperature, Ring(ring), operand, backend)
    return found[:2]


@in_full_precision
def _forward(first, second, temperature, ring, operand, backend):
    """The losses of rows and of columns, and the sums that their gradients need."""
    options = {"operand": operand, "backend": backend}
    x, y = (in_operand(side, operand) for side in (first, second))
    scale = temperature.reciprocal()
    rows = positives = None

    def meet(turn, visiting, travelling):
        nonlocal rows, positives
        found = pair_sums(x, *visiting, scale, own=turn == 0, **options)
        if turn == 0:
            rows, columns, positives = found
            return [columns]
        torch.logaddexp(rows, found[0], out=rows)
        return [torch.logaddexp(travelling[0], found[1])]

    (columns,) = ring.blocks([y], [None], meet)
    return softplus(rows - positives), softplus(columns - positives), rows, columns


def _setup_context(ctx, inputs, outputs):
    ctx.ring, ctx.options = inputs[3], {"operand": inputs[4], "backend": inputs[5]}
    ctx.set_materialize_grads(False)
    row_loss, column_loss, rows, columns = outputs
    ctx.mark_non_differentiable(rows, columns)
    ctx.save_for_backward(*inputs[:3], rows, columns, row_loss, column_loss)


def _backward(ctx, g_rows, g_columns, *_):
    losses = ctx.saved_tensors[-2:]
    given = [torch.zeros_like(losses[0]) if g is None else g for g in (g_rows, g_columns)]
    with torch.no_grad():
        grads = _gradients(ctx, *given)
    return first_only("clip_loss", grads, (*given, *losses))


def _gradients(ctx, g_rows, g_columns):
    first, second, temperature, rows, columns, row_loss, column_loss = ctx.saved_tensors
    x, y = (in_operand(side, ctx.options["operand"]) for side in (first, second))
    scale = temperature.reciprocal()
    a, b = -torch.expm1(-row_loss) * g_rows, -torch.expm1(-column_loss) * g_columns
    to_first = None

    def meet(turn, visiting, travelling):
        nonlocal to_first
        others, their_columns, their_b = visiting
        found = softmax_pairs(
            x, others, scale, rows, their_columns, a, their_b, own=turn == 0, **ctx.options
        )
        if turn == 0:
            to_first, to_theirs = found
            return [to_theirs]
        to_first.add_(found[0])
        return [travelling[0].add_(found[1])]

    (to_second,) = ctx.ring.blocks([y, columns, b], [None], meet)
    found = [None] * 6
    needs = ctx.needs_input_grad
    if needs[0]:
        found[0] = (to_first * scale).to(first.dtype)
    if needs[1]:
        found[1] = (to_second * scale).to(second.dtype)
    if needs[2]:
        # The loss of all depends on x / T alone, so T d/dT = -x · d/dx, each process's share.
        found[2] = -(x * to_first).sum() * scale * scale
    return found


_symmetric = differentiable(_forward, _setup_context, in_full_precision(_backward))
