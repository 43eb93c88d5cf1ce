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

from fastneg.kernels.checks import check_flags
from fastneg.kernels.info_nce_call import operand_of, wide_dtype
from fastneg.kernels.info_nce_checks import check_options
from fastneg.kernels.operators import differentiable, first_only, transforming
from fastneg.kernels.pairs import sigmoid_pairs
from fastneg.losses.ring import Ring, in_full_precision, in_operand, number_in
from fastneg.losses.views import check_pair


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
    """SigLIP's sigmoid loss of pairs, for example of images and texts: for each row of one side and
    each row of the other, whether they belong together.

    Nothing of size n × N is stored, and with `ring` nothing of size N × D. Every input that
    requires a gradient gets one.

    Args:
        first, second: (n, D), the two sides of each pair, L2-normalised; dtypes as in `info_nce`.
            Under autocast, float32 is rounded to its dtype unless precision is given. Sums are
            always float32.
        scale: s, a float or a 0-d tensor; SigLIP learns its logarithm and starts at 10.
        bias: b, a float or a 0-d tensor; SigLIP starts at -10.
        ring: compare with the pairs of all processes of the default group, each with the same
            number: the pairs are passed around, forward and backward. Each process gets the loss of
            its own rows of `first` against all rows of `second`. Features get the gradient of the
            losses of all processes. With DistributedDataParallel, which averages over the
            processes, everything is as in one process.
        precision, backend: as in `info_nce`.
    Returns:
        () float32 (float64 for float64 inputs): the sum over pairs of rows, divided by n.
    Raises:
        ValueError: shapes, dtypes, devices or options disagree.
        RuntimeError: the requested backend cannot run here.
    Source: Zhai et al. 2023, arXiv:2303.15343, equation 1 and algorithm 1.
    """
    check_pair(first, second)
    check_options(precision=precision, backend=backend)
    check_flags(ring=ring)
    operand = operand_of((first, second), precision)
    wide, device = wide_dtype(operand), first.device
    factors = number_in("scale", scale, wide, device), number_in("bias", bias, wide, device)
    ring = Ring(ring)
    # In a ring the gradients are made backward, on their way round.
    once = ring.size == 1 and torch.is_grad_enabled()
    once = once and (transforming() or any(t.requires_grad for t in (first, second, *factors)))
    return _sigmoid(first, second, *factors, ring, operand, backend, once)[0]


@in_full_precision
def _forward(first, second, scale, bias, ring, operand, backend, once):
    """The loss, and the gradients of its sum if they are made at once."""
    options = {"operand": operand, "backend": backend}
    loss, *gradients = _sweep(ring, first, second, scale, bias, once, options)
    return loss / len(first), *gradients


def _setup_context(ctx, inputs, outputs):
    *tensors, ctx.ring, operand, backend, ctx.once = inputs
    ctx.options = {"operand": operand, "backend": backend}
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*outputs[1:])
    ctx.save_for_backward(*tensors, *outputs)


def _backward(ctx, g, *_):
    with torch.no_grad():
        grads = _gradients(ctx, g)
    return first_only("siglip_loss", grads, (g, ctx.saved_tensors[4]))


def _gradients(ctx, g):
    first, second, scale, bias, _, *made = ctx.saved_tensors
    if not ctx.once:
        _, *made = _sweep(ctx.ring, first, second, scale, bias, True, ctx.options, g)
    weight, to_first, to_second = made
    needs, share = ctx.needs_input_grad, g / len(first)
    found = [None] * 8
    factor = share * scale
    if needs[0]:
        found[0] = (to_first * factor).to(first.dtype)
    if needs[1]:
        # What each process's loss is worth has gone round with its part of the gradient.
        worth = factor if ctx.once else scale / len(first)
        found[1] = (to_second * worth).to(second.dtype)
    if needs[2]:
        found[2] = (in_operand(first, ctx.options["operand"]) * to_first).sum() * share
    if needs[3]:
        found[3] = weight * share
    return found


_sigmoid = differentiable(_forward, _setup_context, in_full_precision(_backward))


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
