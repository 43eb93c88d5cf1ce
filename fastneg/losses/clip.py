"""The symmetric loss of pairs, as CLIP's: in one sweep over the pairs, over one process or a ring.

Legend: n pairs of this process, N of all, D feature dimension, T temperature. l_ij = x_i·y_j / T.

The loss of row i is softplus(r_i - l_ii), with r_i the log-sum-exp of l_ij over j ≠ i, and that of
column j softplus(c_j - l_jj), with c_j the one over i ≠ j. One product gives both sums (2 n N D
operations). With the sums known the gradient is one more, and two products with it (6 n N D):

    W_ij = e^{l_ij - r_i} a_i + e^{l_ij - c_j} b_j, i ≠ j
    W_ii = a_i' + b_i',    dx = W y / T,    dy = Wᵀ x / T

where a_i = g sigmoid(r_i - l_ii), g what reaches the row, and a_i' = g expm1(-loss_i), which keeps
its digits where the loss is small; b likewise of columns. Two calls of `info_nce` would take
16 n N D.
"""

from __future__ import annotations

import torch
from torch.nn.functional import softplus

from fastneg.losses.ring import Ring, chunks, in_full_precision, working_dtype


def symmetric_losses(first, second, temperature, ring=False):
    """(rows, columns): the loss of each pair as a row and as a column, (n,) each.

    Args:
        first, second: (n, D), as many in each process.
        temperature: 0-d tensor.
        ring: whether the pairs of all processes meet.
    """
    return _Symmetric.apply(first, second, temperature, Ring(ring))


class _Symmetric(torch.autograd.Function):
    @staticmethod
    @in_full_precision
    def forward(ctx, first, second, temperature, ring):
        wide = working_dtype(first, second)
        scaled = first.to(wide) / temperature
        positive = (scaled * second.to(wide)).sum(1)
        rows = scaled.new_full((len(first),), -torch.inf)

        def meet(turn, visiting, travelling):
            columns = []
            for part, logits in chunks(scaled, visiting[0], own=turn == 0):
                torch.logaddexp(rows, logits.logsumexp(1), out=rows)
                columns.append(torch.logaddexp(travelling[0][part], logits.logsumexp(0)))
            return [torch.cat(columns)]

        (columns,) = ring.blocks([second], [torch.full_like(rows, -torch.inf)], meet)
        losses = softplus(rows - positive), softplus(columns - positive)
        ctx.save_for_backward(first, second, temperature, rows, columns, *losses)
        ctx.ring = ring
        return losses

    @staticmethod
    @torch.autograd.function.once_differentiable
    @in_full_precision
    def backward(ctx, g_rows, g_columns):
        first, second, temperature, rows, columns, row_loss, column_loss = ctx.saved_tensors
        x, y = first.to(rows.dtype), second.to(rows.dtype)
        scaled = x / temperature
        a, b = -torch.expm1(-row_loss) * g_rows, -torch.expm1(-column_loss) * g_columns
        to_first = torch.zeros_like(x)

        def meet(turn, visiting, travelling):
            others, their_columns, their_b = visiting
            (to_theirs,) = travelling
            for part, logits in chunks(scaled, others, own=turn == 0):
                weights = (logits - rows[:, None]).exp_().mul_(a[:, None])
                by_column = logits.sub_(their_columns[part]).exp_().mul_(their_b[part])
                weights.add_(by_column)
                to_first.addmm_(weights, others[part].to(rows.dtype))
                to_theirs[part].addmm_(weights.t(), x)
            return [to_theirs]

        (to_second,) = ctx.ring.blocks([second, columns, b], [torch.zeros_like(y)], meet)
        diagonal = -(a + b)[:, None]
        to_first.addcmul_(diagonal, y).div_(temperature)
        to_second.addcmul_(diagonal, x).div_(temperature)
        # The loss of all depends on x / T alone, so T d/dT = -x · d/dx, each process's share.
        to_temperature = -(x * to_first).sum() / temperature
        return (
            to_first.to(first.dtype),
            to_second.to(second.dtype),
            to_temperature.to(temperature.dtype),
            None,
        )
