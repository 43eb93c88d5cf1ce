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
from torch.nn.functional import logsigmoid

from fastneg.kernels.info_nce_checks import check_dim, check_number, check_tensors
from fastneg.losses.ring import Ring, chunks, in_full_precision, working_dtype


def siglip_loss(
    first: torch.Tensor,
    second: torch.Tensor,
    *,
    scale: float | torch.Tensor = 10.0,
    bias: float | torch.Tensor = -10.0,
    ring: bool = False,
) -> torch.Tensor:
    """The sigmoid loss of pairs, images and texts say: whether each row of one side belongs to each
    of the other.

    Nothing of size n × N is stored, and with `ring` nothing of size N × D. Gradients reach every
    input that asks for one.

    Args:
        first, second: (n, D), the two sides of each pair, L2-normalised; dtypes as in `info_nce`.
            Products are taken in float32 at least.
        scale: s, a float or a 0-d tensor; SigLIP learns its logarithm and starts at 10.
        bias: b, a float or a 0-d tensor; SigLIP starts at -10.
        ring: the pairs of all processes of the default group meet, as many in each; they go round,
            forward and backward. Each process gets the loss of its own rows of `first` against all
            of `second`. Features get the gradient that all processes' losses make: where
            DistributedDataParallel averages over the processes, all is as in one process.
    Returns:
        () float32 (float64 for float64 inputs): the sum over pairs of rows, divided by n.
    Raises:
        ValueError: shapes, dtypes or devices disagree.
    Source: Zhai et al. 2023, arXiv:2303.15343, equation 1 and algorithm 1.
    """
    for name, view in (("first", first), ("second", second)):
        check_dim(name, view, 2, "(n, D)")
    check_tensors(first, second, second, None, 1.0)
    wide = working_dtype(first, second)
    factors = []
    for name, factor in (("scale", scale), ("bias", bias)):
        if not isinstance(factor, torch.Tensor):
            check_number(name, factor)
        elif factor.dim() != 0 or factor.device != first.device:
            raise ValueError(
                f"{name} is {tuple(factor.shape)} on {factor.device}: a 0-d tensor on "
                f"{first.device}, or a float, was expected."
            )
        factors.append(torch.as_tensor(factor, dtype=wide, device=first.device))
    return _Sigmoid.apply(first, second, *factors, Ring(ring))


class _Sigmoid(torch.autograd.Function):
    @staticmethod
    @in_full_precision
    def forward(ctx, first, second, scale, bias, ring):
        ctx.save_for_backward(first, second, scale, bias)
        ctx.ring, ctx.gradients = ring, None
        wide = scale.dtype
        if ring.size == 1 and any(ctx.needs_input_grad):
            loss, *ctx.gradients = _sweep(ring, first.to(wide), second, scale, bias)
            return loss
        return _sweep(ring, first.to(wide), second, scale, bias, with_grad=False)[0]

    @staticmethod
    @torch.autograd.function.once_differentiable
    @in_full_precision
    def backward(ctx, g):
        first, second, scale, bias = ctx.saved_tensors
        wide = scale.dtype
        if ctx.gradients is None:
            # What this process's loss is worth, g, goes into the gradients on their way round.
            _, *gradients = _sweep(ctx.ring, first.to(wide), second, scale, bias, g)
        else:
            gradients = [gradient * g for gradient in ctx.gradients]
        to_first, to_second, to_scale, to_bias = gradients
        return to_first.to(first.dtype), to_second.to(second.dtype), to_scale, to_bias, None


def _sweep(ring, x, second, scale, bias, g=1.0, with_grad=True):
    """(loss, and g times its gradients by x, second, scale and bias) of this process's rows.

    g: 1, or a 0-d tensor.
    """
    scaled, y, size = x * scale, second.to(x.dtype), len(x)
    own = (scaled * y).sum(1) + bias
    share = torch.sigmoid(-own)
    loss, weight = -logsigmoid(own).sum(), -share.sum()
    to_x = -share[:, None] * y if with_grad else None
    # The travelling gradient of y is that of all processes, so each puts its own g in.
    to_y = torch.zeros_like(y) if with_grad else y.new_empty(0)
    x_times_g = x * g if isinstance(g, torch.Tensor) else x

    def meet(turn, visiting, travelling):
        nonlocal loss, weight
        (others,), (to_others,) = visiting, travelling
        for part, logits in chunks(scaled, others, own=turn == 0):
            logits.add_(bias)
            loss = loss - logsigmoid(-logits).sum()
            if with_grad:
                weights = logits.sigmoid_()
                weight = weight + weights.sum()
                to_x.addmm_(weights, others[part].to(x.dtype))
                to_others[part].addmm_(weights.t(), x_times_g)
        return [to_others]

    (to_y,) = ring.blocks([second], [to_y], meet)
    if not with_grad:
        return (loss / size,)
    to_y = (to_y - share[:, None] * x * g) * (scale / size)
    to_scale = (x * to_x).sum() * (g / size)
    return loss / size, to_x * (scale * g / size), to_y, to_scale, weight * (g / size)
