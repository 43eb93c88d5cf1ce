"""The losses of pairs in plain torch: a chunk of columns at a time, so no matrix of all pairs is
ever held.

Shapes: n rows of one side, m of the other, D feature dimension; what each function gives is
described in pairs.py. `operand` is the dtype that both sides are rounded to; products and sums are
taken in float32 at least.
"""

import math

import torch
from torch.nn.functional import logsigmoid

from .info_nce_torch import chunk_of, rounded


def sigmoid(first, second, scale, bias, own, with_grad, operand):
    """`pairs.sigmoid_pairs`."""
    x, y = _wide(first, second, operand)
    scaled = x * scale
    loss, weight = x.new_zeros(()), x.new_zeros(())
    to_x, to_y = (each.new_zeros(len(each) if with_grad else 0, each.shape[1]) for each in (x, y))
    if own:
        positive = (scaled * y).sum(1) + bias
        share = torch.sigmoid(-positive)
        loss, weight = loss - logsigmoid(positive).sum(), weight - share.sum()
    for part, logits in _chunks(scaled, y, own):
        logits.add_(bias)
        loss = loss - logsigmoid(-logits).sum()
        if with_grad:
            weights = logits.sigmoid_()
            weight = weight + weights.sum()
            _add(weights, x, y[part], to_x, to_y[part])
    if own and with_grad:
        to_x.addcmul_(share[:, None], y, value=-1)
        to_y.addcmul_(share[:, None], x, value=-1)
    return loss, weight if with_grad else x.new_empty(()), to_x, to_y


def sums(first, second, scale, own, operand):
    """`pairs.pair_sums`."""
    x, y = _wide(first, second, operand)
    scaled = x * scale
    positives = (scaled * y).sum(1) if own else x.new_empty(0)
    rows, columns = scaled.new_full((len(x),), -torch.inf), scaled.new_empty(len(y))
    for part, logits in _chunks(scaled, y, own):
        torch.logaddexp(rows, logits.logsumexp(1), out=rows)
        torch.logsumexp(logits, 0, out=columns[part])
    return rows, columns, positives


def softmax(
    first, second, scale, row_sums, column_sums, row_weights, column_weights, own, operand
):  # fmt: skip
    """`pairs.softmax_pairs`."""
    x, y = _wide(first, second, operand)
    to_x, to_y = (each.new_zeros(each.shape) for each in (x, y))
    for part, logits in _chunks(x * scale, y, own):
        weights = (logits - row_sums[:, None]).exp_().mul_(row_weights[:, None])
        weights.add_(logits.sub_(column_sums[part]).exp_().mul_(column_weights[part]))
        _add(weights, x, y[part], to_x, to_y[part])
    if own:
        both = (row_weights + column_weights)[:, None]
        to_x.addcmul_(both, y, value=-1)
        to_y.addcmul_(both, x, value=-1)
    return to_x, to_y


def _wide(first, second, operand):
    wide = torch.promote_types(operand, torch.float32)
    return rounded(first, operand, wide), rounded(second, operand, wide)


def _chunks(scaled, y, own):
    """Yield (slice of the columns, logits (n, that many)); own: those of pairs of the same number
    are left out, at -inf."""
    size = chunk_of(len(scaled), len(y), scaled)
    for start in range(0, len(y), size):
        part = slice(start, min(start + size, len(y)))
        logits = scaled @ y[part].t()
        if own:
            logits[part].fill_diagonal_(-math.inf)
        yield part, logits


def _add(weights, x, y, to_x, to_y):
    """Both gradients of a chunk, in place."""
    to_x.addmm_(weights, y)
    to_y.addmm_(weights.t(), x)
