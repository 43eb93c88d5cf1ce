"""InfoNCE in plain torch: streams over the shared negatives in chunks, so that no (N, K) matrix is
ever held.

Shapes: N batch, K shared negatives, M extra negatives per query, D feature dimension. The
mathematics is in docs/explanation/loss.md.
"""

import math

import torch

from .info_nce_call import LARGEST_BOUND, bounded

# Elements of one (N, chunk) buffer. Smaller ones would stay in a CPU's cache, but where other
# threads want the cores too (a loader's), the many short parallel regions of small chunks wait for
# each other; on a GPU launches cost more than memory.
CPU_CHUNK_ELEMENTS = 1 << 21
CUDA_CHUNK_ELEMENTS = 1 << 24
SMALLEST_CHUNK = 256

# The running maximum starts finite: exp(-inf - -inf) would be NaN for a row that has no negative
# yet.
LOWEST = -1e30


def forward(
    query, positive, negatives, extra, temperature, extra_scale, left_out, operand, wanted,
):  # fmt: skip
    """The outputs of `fastneg::info_nce`, in one pass.

    They are (loss, lse, rank, positive_logit, top, total, extra_weights, dq). Of each row, `top` is
    a number from which no logit of its negatives is far, `total` the sum of their exp(logit - top),
    and `extra_weights` (N, M) the exp(logit - top) of each extra one.

    Args:
        query, positive: (N, D). negatives: (K, D), any strides. extra: (N, M, D) or None.
        temperature: float or 0-d tensor.
        left_out: `LeftOut`. wanted: `Wanted`; what is not wanted, dq or rank, has no rows.
        operand: the dtype that every input is rounded to; products accumulate in float32 (float64
            for float64).
    """
    wide = torch.float64 if operand == torch.float64 else torch.float32
    scaled = rounded(query, operand, wide) / temperature
    key = rounded(positive, operand, wide)
    positive_logit = (scaled * key).sum(1)
    fixed = (wanted.normalised and bounded(temperature)) or _short(scaled, negatives)
    found, rank = _sweep(scaled, positive_logit, negatives, left_out, operand, wanted, fixed)
    extra_weights = scaled.new_empty(len(query), 0)
    # The extra negatives come last: their logits become weights by the final maximum, in place.
    if extra is not None and extra.shape[1]:
        own = rounded(extra, operand, wide)
        extra_weights = torch.einsum("nd,nmd->nm", scaled, own).mul_(extra_scale)
        if wanted.rank:
            rank += (extra_weights > positive_logit[:, None]).sum(1)
        found = _accumulate(extra_weights, own, _as_maximum(found) if fixed else found, extra_scale)

    # With the positive factored out, loss = softplus(lse_neg - l_pos) and dloss/dq = sigmoid(.) / T
    # * (E_neg[key] - positive): nothing of the form p - 1 cancels when the loss is small.
    top, total, mean = found
    top, sums = top.squeeze(1), total.squeeze(1)
    margin = (top - positive_logit).add_(sums.log())
    # An infinite logit is a NaN loss, and a NaN has the worst rank: comparisons with it are false.
    loss = torch.logaddexp(margin, margin.new_zeros(())).add_(positive_logit, alpha=0)
    if wanted.rank:
        worst = len(negatives) - int(left_out.diagonal) + (0 if extra is None else extra.shape[1])
        rank.masked_fill_(loss.isnan(), worst)
    dq = scaled.new_empty(0, query.shape[1])
    if wanted.grad:
        # Of a row without negatives both are 0: so is their quotient here.
        mean.div_(total.clamp_min(torch.finfo(wide).tiny))
        dq = mean.sub_(key).mul_((torch.expm1(-loss) / -temperature)[:, None])
    return loss, positive_logit + loss, rank, positive_logit, top, sums, extra_weights, dq


def _short(scaled, negatives):
    """Whether lengths alone bound every logit so that no maximum is needed. Where the numbers are
    at hand, on a CPU, asking is one pass over the vectors."""
    if scaled.device.type != "cpu" or not len(negatives):
        return False
    longest = [
        torch.linalg.vector_norm(matrix, dim=1, dtype=scaled.dtype).amax()
        for matrix in (scaled, negatives)
    ]
    return bool(longest[0] * longest[1] <= LARGEST_BOUND)


def _sweep(scaled, positive_logit, negatives, left_out, operand, wanted, fixed):
    """((top (N, 1), total (N, 1), weighted sum of keys (N, D) or None), rank (N,)) over the shared
    negatives, a chunk at a time."""
    rows, count = len(scaled), len(negatives)
    chunk = chunk_of(rows, count, scaled)
    logits_buffer = scaled.new_empty(rows, chunk)
    compare_buffer = torch.empty_like(logits_buffer) if wanted.rank else None
    found = rank = None
    for start in range(0, count, chunk):
        keys = rounded(negatives[start : start + chunk], operand, scaled.dtype)
        whole = keys.shape[0] == chunk
        logits = logits_buffer if whole else scaled.new_empty(rows, keys.shape[0])
        torch.mm(scaled, keys.t(), out=logits)
        _leave_out(logits, start, left_out)
        if wanted.rank:
            above = compare_buffer if whole else torch.empty_like(logits)
            # Comparing into floats keeps the count in vector registers: the sum of a bool tensor is
            # many times slower on a CPU.
            above = torch.gt(logits, positive_logit[:, None], out=above).sum(1).long()
            rank = above if rank is None else rank.add_(above)
        found = (_add if fixed else _accumulate)(logits, keys if wanted.grad else None, found)
    if found is None:
        mean = torch.zeros_like(scaled) if wanted.grad else None
        found = scaled.new_full((rows, 1), LOWEST), scaled.new_zeros(rows, 1), mean
    if rank is None:
        rank = torch.zeros(rows if wanted.rank else 0, dtype=torch.int64, device=scaled.device)
    return found, rank


def negatives_grad(query, negatives, top, weight, temperature, left_out, operand):
    """sum_i weight_i exp(l_ij - top_i) q_i: (K, D) in the dtype of `negatives`.

    The logits are recomputed chunk by chunk, as `forward` did.
    """
    wide = torch.promote_types(operand, torch.float32)
    exact = rounded(query, operand, wide)
    scaled, weighted = exact / temperature, exact * weight[:, None]
    count = negatives.shape[0]
    grad = torch.empty(negatives.shape, dtype=negatives.dtype, device=negatives.device)
    chunk = chunk_of(query.shape[0], count, query)
    for start in range(0, count, chunk):
        keys = rounded(negatives[start : start + chunk], operand, wide)
        logits = torch.mm(scaled, keys.t())
        _leave_out(logits, start, left_out)
        share = logits.sub_(top[:, None]).exp_()
        grad[start : start + chunk] = torch.mm(share.t(), weighted)
    return grad


def rounded(tensor, operand, wide):
    return tensor.to(operand).to(wide)


def chunk_of(rows, count, like):
    elements = CUDA_CHUNK_ELEMENTS if like.is_cuda else CPU_CHUNK_ELEMENTS
    return max(1, min(count, max(SMALLEST_CHUNK, elements // rows)))


def _leave_out(logits, start, left_out):
    """-inf for the keys that a row is not compared with, in place; column j is key start + j."""
    stop = start + logits.shape[1]
    if left_out.diagonal:
        rows = logits[start:stop]
        if rows.shape[0]:
            rows.diagonal().fill_(-math.inf)
    if left_out.mask is not None:
        logits.masked_fill_(left_out.mask[:, start:stop], -math.inf)
    if left_out.query_labels is not None:
        same = left_out.query_labels[:, None] == left_out.negative_labels[start:stop]
        logits.masked_fill_(same, -math.inf)


def _add(logits, keys, found):
    """As `_accumulate`, of logits that are bounded: no exponential leaves the range of numbers, nor
    does their sum, so 0 serves for the maximum."""
    weights = logits.exp_()
    total = weights.sum(1, keepdim=True)
    if found is None:
        return torch.zeros_like(total), total, None if keys is None else weights @ keys
    top, total_before, mean = found
    if keys is not None:
        mean.addmm_(weights, keys)
    return top, total_before.add_(total), mean


def _as_maximum(found):
    """What `_add` gave, with the sum's logarithm for the maximum: any logit may follow it."""
    _, total, mean = found
    top = torch.where(total == 0, LOWEST, total.log())
    mean = None if mean is None else mean.div_(total.clamp_min(torch.finfo(total.dtype).tiny))
    return top, (total != 0).to(total.dtype) + 0 * total, mean  # a NaN stays one


def _accumulate(logits, keys, found, key_scale=1.0):
    """Adds a block of logits to (top, total, weighted sum of keys): the greatest logit so far, the
    sum of the weights exp(logit - top). Overwrites `logits` with the weights.

    Args:
        keys: (k, D) of all rows, (N, k, D) of each, or None where no sum of them is wanted.
        found: None before the first block.
    """
    new_top = logits.amax(1, keepdim=True)
    new_top = new_top.clamp_min_(LOWEST) if found is None else torch.maximum(found[0], new_top)
    weights = logits.sub_(new_top).exp_()
    total = weights.sum(1, keepdim=True)
    if found is None:
        return new_top, total, None if keys is None else weights @ keys
    top, total_before, mean = found
    shrink = torch.exp(top - new_top)
    total = total_before.mul_(shrink).add_(total)
    if mean is not None:
        mean.mul_(shrink)
        if keys.dim() == 2:
            mean.addmm_(weights, keys)
        else:
            mean.add_(torch.einsum("nm,nmd->nd", weights, keys), alpha=key_scale)
    return new_top, total, mean
