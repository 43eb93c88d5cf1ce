"""Rows of all processes, with gradients where in-batch negatives over a global batch need them.

Legend: n rows of this process, S processes, D feature dimension.
"""

from __future__ import annotations

import torch
import torch.distributed as dist


def gather_own_first(rows):
    """(n, D) of each process → (S n, D): this process's rows, then those of the ranks after it, around to the one before it.

    Differentiable: a row's gradient is the sum of what all processes make of it. So where each process takes the mean loss of its own
    rows and the parameters' gradients are averaged over processes, as DistributedDataParallel does, they are those of one process with
    the whole batch. Every process must hold as many rows. In one process the rows are returned as they are.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return rows
    return _Gather.apply(rows)


def all_rows(rows):
    """(n, …) of each process → (S n, …) in the order of ranks, without gradient; every process must hold as many rows."""
    out = rows.new_empty((dist.get_world_size() * len(rows), *rows.shape[1:]))
    # Newer versions of torch give it another name.
    getattr(dist, "all_gather_single", dist.all_gather_into_tensor)(out, rows.contiguous())
    return out


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows):
        out = all_rows(rows)
        ctx.own = slice(dist.get_rank() * len(rows), (dist.get_rank() + 1) * len(rows))
        return out.roll(-ctx.own.start, 0)

    @staticmethod
    def backward(ctx, gradient):
        total = gradient.roll(ctx.own.start, 0).contiguous()
        dist.all_reduce(total)
        return total[ctx.own]
