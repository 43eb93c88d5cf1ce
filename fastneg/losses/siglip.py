"""The sigmoid loss of pairs, as SigLIP's, over one process or a ring.

Legend: n pairs of this process, N of all, D feature dimension. l_ij = s x_i·y_j + b, with a learned
scale s and bias b.

Each pair of rows is a question of its own: do they belong together? So no sum has to be known
before the gradient, and one sweep gives both: with W_ij = sigmoid(l_ij) for i ≠ j and
W_ii = -sigmoid(-l_ii),

    loss = 1/n (sum_{i≠j} softplus(l_ij) + sum_i softplus(-l_ii))
    dx = s W y / n,    dy = s Wᵀ x / n,    ds = sum_i x_i·(W y)_i / n,    db = sum W / n
"""

from __future__ import annotations

import torch

from fastneg.kernels.info_nce_call import operand_of, wide_dtype
from fastneg.kernels.info_nce_checks import check_dim, check_options, check_tensors
from fastneg.kernels.pairs import sigmoid_pairs
from fastneg.losses.ring import Ring, in_full_precision, in_operand, number_in


def siglip_loss(
    first: torch.Tensor,
    second: torch.Tensor,
    *,
    scale: float | torch.Tensor = 10.0,
    bias: float | torch.Tensor = -10.0,
    ring: bool = False,
    precision: str | None = None,
    backend: str = "auto",
) -> torch.Tensor:
    """The sigmoid loss of pairs, images and texts say: whether each row of one side belongs to each
    of the other.

    Nothing of size n × N is stored, and with `ring` nothing of size N × D. Gradients reach every
    input that asks for one.

    Args:
        first, second: (n, D), the two sides of each pair, L2-normalised; dtypes as in `info_nce`.
            Where autocast is on, float32 is rounded to its dtype unless precision is given. Sums
            are float32 throughout.
        scale: s, a float or a 0-d tensor; SigLIP learns its logarithm and starts at 10.
        bias: b, a float or a 0-d tensor; SigLIP starts at -10.
        ring: the pairs of all processes of the default group meet, as many in each; they go round,
            forward and backward. Each process gets the loss of its own rows of `first` against all
            of `second`. Features get the gradient that all processes' losses make: where
            DistributedDataParallel averages over the processes, all is as in one process.
        precision, backend: as in `info_nce`.
    Returns:
        () float32 (float64 for float64 inputs): the sum over pairs of rows, divided by n.
    Raises:
        ValueError: shapes, dtypes, devices or options disagree.
        RuntimeError: the backend asked for cannot run here.
    Source: Zhai et al. 2023, arXiv:2303.15343, equation 1 and algorithm 1.
    """
    for name, view in (("first", first), ("second", second)):
        check_dim(name, view, 2, "(n, D)")
    check_tensors(first, second, second, None, 1.0)
    check_options(precision=precision)
    operand = operand_of((first, second), precision)
    wide, device = wide_dtype(operand), first.device
    factors = number_in("scale", scale, wide, device), number_in("bias", bias, wide, device)
    return _Sigmoid.apply(first, second, *factors, Ring(ring), operand, backend)


class _Sigmoid(torch.autograd.Function):
    @staticmethod
    @in_full_precision
    def forward(ctx, first, second, scale, bias, ring, operand, backend):
        ctx.ring, ctx.options = ring, {"operand": operand, "backend": backend}
        once = ring.size == 1 and any(ctx.needs_input_grad)
        # A ring makes the gradients backward, on their way round.
        loss, *gradients = _sweep(ring, first, second, scale, bias, once, ctx.options)
        ctx.save_for_backward(first, second, scale, bias, *(gradients if once else ()))
        return loss / len(first)

    @staticmethod
    @torch.autograd.function.once_differentiable
    @in_full_precision
    def backward(ctx, g):
        first, second, scale, bias, *gradients = ctx.saved_tensors
        if not gradients:
            _, *gradients = _sweep(ctx.ring, first, second, scale, bias, True, ctx.options, g)
        weight, to_first, to_second = gradients
        needs, share = ctx.needs_input_grad, g / len(first)
        found = [None] * 7
        factor = share * scale
        if needs[0]:
            found[0] = (to_first * factor).to(first.dtype)
        if needs[1]:
            # What each process's loss is worth has gone round with its part of the gradient.
            worth = factor if ctx.ring.size == 1 else scale / len(first)
            found[1] = (to_second * worth).to(second.dtype)
        if needs[2]:
            found[2] = (in_operand(first, ctx.options["operand"]) * to_first).sum() * share
        if needs[3]:
            found[3] = weight * share
        return tuple(found)


def _sweep(ring, first, second, scale, bias, with_grad, options, g=None):
    """(loss, sum of W, W y, Wᵀ x) of this process's rows, not divided by their number; without
    with_grad the loss alone counts. In a ring, Wᵀ x is that of all processes, each times its g.
    """
    loss = weight = to_x = None
    x, y = (in_operand(side, options["operand"]) for side in (first, second))

    def meet(turn, visiting, travelling):
        nonlocal loss, weight, to_x
        found = sigmoid_pairs(
            x, *visiting, scale, bias, own=turn == 0, with_grad=with_grad, **options
        )
        to_theirs = found[3] if g is None else found[3].mul_(g)
        if turn == 0:
            loss, weight, to_x, _ = found
            return [to_theirs]
        loss, weight = loss + found[0], weight + found[1]
        to_x.add_(found[2])
        return [travelling[0].add_(to_theirs)]

    (to_y,) = ring.blocks([y], [None], meet)
    return loss, weight, to_x, to_y
