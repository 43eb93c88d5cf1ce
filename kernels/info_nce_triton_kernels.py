"""The kernels of info_nce after the sweep: the merge of its parts, the gradient of the negatives.

Shapes: N batch, K shared negatives, M extra negatives per query, D feature dimension, S splits of
K. A stride is named by its matrix and dimension: `query_n` steps to the next query.

`merge_kernel` joins the S parts of a row and its extra negatives. The order is fixed, so results
repeat bit for bit.
`negatives_grad_kernel` recomputes the logits for the gradient of the shared negatives. It takes
their exponentials by the maximum that the merge left: at logits of 1e5 the digits of a rounded
log-sum-exp would be lost.
"""

import triton
import triton.language as tl

from .info_nce_sweep_kernel import (
    HEADROOM,
    LIFT,
    LN2,
    LOG2E,
    LOWEST,
    dot,
    inverse_temperature,
    left_out,
    load_rows,
    load_vector,
)


@triton.jit
def _join_splits(
    tops, totals, ranks, means, row, rows, splits, bound,
    DIM: tl.constexpr, DIM_PAD: tl.constexpr, SPLITS_PAD: tl.constexpr, BLOCK_S: tl.constexpr,
    WITH_GRAD: tl.constexpr, WITH_RANK: tl.constexpr, FIXED: tl.constexpr,
):  # fmt: skip
    """(top, total, rank, mean) of a row over all shared negatives: each part shrinks by what its
    maximum is below that of all."""
    d = tl.arange(0, DIM_PAD)
    split = tl.arange(0, SPLITS_PAD)
    inside = split < splits
    place = split.to(tl.int64) * rows + row
    parts = tl.load(totals + place, mask=inside, other=0.0)
    if FIXED:  # one maximum for all
        top, total = bound, tl.sum(parts, 0)
    else:
        split_tops = tl.load(tops + place, mask=inside, other=LOWEST)
        top = tl.max(split_tops, 0)
        total = tl.sum(tl.exp2(split_tops - top) * parts, 0)
    rank = tl.zeros([], tl.int64)
    if WITH_RANK:
        rank = tl.sum(tl.load(ranks + place, mask=inside, other=0).to(tl.int64), 0)
    mean = tl.zeros([DIM_PAD], tl.float32)
    if WITH_GRAD:
        for start in range(0, splits, BLOCK_S):
            some = start + tl.arange(0, BLOCK_S)
            at = some.to(tl.int64) * rows + row
            mask = (some < splits)[:, None] & (d < DIM)[None, :]
            some_means = tl.load(means + at[:, None] * DIM + d[None, :], mask=mask, other=0.0)
            if not FIXED:
                shares = tl.exp2(tl.load(tops + at, mask=some < splits, other=LOWEST) - top)
                some_means *= shares[:, None]
            mean += tl.sum(some_means, 0)
    if FIXED:
        # A bound stood for the maximum. With the power of two in the sum handed over to `top`, the
        # sum is between 1 and 2, and no weight above it: as if by a maximum. It is exact.
        power = tl.floor(tl.log2(total))
        back = tl.where(total == 0.0, 0.0, tl.exp2(-power))
        top = tl.where(total == 0.0, LOWEST, top + power)
        total, mean = total * back, mean * back
    return top, total, rank, mean


@triton.jit
def _join_extra(
    q, extra, extra_m, extra_d, extra_count, extra_scale, extra_dots, positive_dot, scale,
    top, total, rank, mean,
    DIM: tl.constexpr, DIM_PAD: tl.constexpr, OPERAND: tl.constexpr, BLOCK_M: tl.constexpr,
    WITH_GRAD: tl.constexpr,
):  # fmt: skip
    """(top, total, rank, mean) with the extra negatives of a row taken in; leaves their products
    with the query, scaled, in `extra_dots`."""
    for start in range(0, extra_count, BLOCK_M):
        m = start + tl.arange(0, BLOCK_M)
        inside = m < extra_count
        t = load_rows(extra, m, extra_m, extra_d, inside, DIM, DIM_PAD)
        t = t.to(OPERAND).to(tl.float32)
        dots = tl.sum(q[None, :] * t, 1) * extra_scale
        tl.store(extra_dots + m, dots, mask=inside)
        dots = tl.where(inside, dots, float("-inf"))
        rank += tl.sum((dots > positive_dot).to(tl.int64), 0)
        new_top = tl.maximum(top, tl.max(dots * scale, 0))
        weights = tl.exp2(tl.fma(dots, scale, -new_top))
        shrink = tl.exp2(top - new_top)
        total = total * shrink + tl.sum(weights, 0)
        if WITH_GRAD:
            mean = mean * shrink + tl.sum(weights[:, None] * t, 0) * extra_scale
        top = new_top
    return top, total, rank, mean


@triton.jit
def _softplus(margin):
    """log(1 + exp(margin)), exact to the last digits at both ends: log1p as Kahan wrote it."""
    small = tl.exp(-tl.abs(margin))
    raised = 1.0 + small
    log1p = tl.where(raised == 1.0, small, tl.log(raised) * (small / (raised - 1.0)))
    return tl.maximum(margin, 0.0) + log1p


@triton.jit
def merge_kernel(
    query, positive, extra, temperature, tops, totals, ranks, means, positive_dots,
    loss, lse, positive_logits, rank_out, top_out, total_out, extra_weights, dq,
    rows, splits, extra_count, extra_scale, worst_rank,
    query_n, query_d, positive_n, positive_d, extra_n, extra_m, extra_d,
    DIM: tl.constexpr, DIM_PAD: tl.constexpr,
    OPERAND: tl.constexpr, TENSOR_TEMPERATURE: tl.constexpr,
    SPLITS_PAD: tl.constexpr, BLOCK_S: tl.constexpr, BLOCK_M: tl.constexpr,
    WITH_GRAD: tl.constexpr, WITH_RANK: tl.constexpr, FIXED: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    d = tl.arange(0, DIM_PAD)
    inverse = inverse_temperature(temperature, TENSOR_TEMPERATURE)
    scale = inverse * LOG2E
    positive_dot = tl.load(positive_dots + row)
    top, total, rank, mean = _join_splits(
        tops, totals, ranks, means, row, rows, splits, scale - HEADROOM,
        DIM, DIM_PAD, SPLITS_PAD, BLOCK_S, WITH_GRAD, WITH_RANK, FIXED,
    )  # fmt: skip
    q = load_vector(query + row * query_n, query_d, DIM, DIM_PAD, OPERAND)
    extra_weights += row * extra_count
    top, total, rank, mean = _join_extra(
        q, extra + row * extra_n, extra_m, extra_d, extra_count, extra_scale, extra_weights,
        positive_dot, scale, top, total, rank, mean,
        DIM, DIM_PAD, OPERAND, BLOCK_M, WITH_GRAD,
    )  # fmt: skip
    tl.store(top_out + row, top)
    tl.store(total_out + row, total)
    # What other threads of this program stored above is read below.
    tl.debug_barrier()
    # By the final maximum, in the very operations that made `total`: the weights sum to it.
    for start in range(0, extra_count, BLOCK_M):
        m = start + tl.arange(0, BLOCK_M)
        dots = tl.load(extra_weights + m, mask=m < extra_count, other=0.0)
        weights = tl.exp2(tl.fma(dots, scale, -top))
        tl.store(extra_weights + m, weights, mask=m < extra_count)

    # The positive factored out: loss = softplus(margin), dloss/dq = sigmoid(margin) / T *
    # (E_neg[key] - positive).
    margin = ((top - positive_dot * scale) + tl.log2(total)) * LN2
    poison = positive_dot * 0.0  # an infinite logit is a NaN loss
    row_loss = _softplus(margin) + poison
    positive_logit = positive_dot * inverse
    tl.store(loss + row, row_loss)
    tl.store(lse + row, positive_logit + row_loss)
    tl.store(positive_logits + row, positive_logit)
    if WITH_RANK:
        # Comparisons with a NaN are false: without this its rank would be the best.
        # An argument that is 1 is compiled as a constant, which has no `to`.
        worst = tl.full([], worst_rank, tl.int64)
        tl.store(rank_out + row, tl.where(row_loss != row_loss, worst, rank))
    if WITH_GRAD:
        k = load_vector(positive + row * positive_n, positive_d, DIM, DIM_PAD, OPERAND)
        expected = tl.where(total == 0.0, 0.0, mean / total)  # 0 without a negative
        sigmoid = 1.0 / (1.0 + tl.exp(-margin)) + poison
        tl.store(dq + row * DIM + d, (expected - k) * (sigmoid * inverse), mask=d < DIM)


@triton.jit
def negatives_grad_kernel(
    query, negatives, tops, weight, unit, temperature, mask, query_labels, negative_labels, grad,
    rows, count,
    query_n, query_d, negatives_k, negatives_d, grad_k, grad_d, mask_n, mask_k,
    DIM: tl.constexpr, DIM_PAD: tl.constexpr,
    OPERAND: tl.constexpr, TENSOR_TEMPERATURE: tl.constexpr,
    BLOCK_K: tl.constexpr, BLOCK_N: tl.constexpr,
    EXCLUDE_DIAGONAL: tl.constexpr, MASKED: tl.constexpr, LABELLED: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    key = tl.program_id(0) * BLOCK_K + tl.arange(0, BLOCK_K)
    d = tl.arange(0, DIM_PAD)
    scale = inverse_temperature(temperature, TENSOR_TEMPERATURE) * LOG2E
    keys = load_rows(negatives, key, negatives_k, negatives_d, key < count, DIM, DIM_PAD).to(
        OPERAND
    )
    sums = tl.zeros([BLOCK_K, DIM_PAD], tl.float32)
    for start in range(0, rows, BLOCK_N):
        row = start + tl.arange(0, BLOCK_N)
        valid = row < rows
        q = load_rows(query, row, query_n, query_d, valid, DIM, DIM_PAD).to(OPERAND)
        # The sums must be those of the sweep. What interprets the kernels sums a transposed product
        # in another order; tensor cores do not.
        if UPCAST:
            dots = tl.trans(
                dot(q, tl.trans(keys), tl.zeros([BLOCK_N, BLOCK_K], tl.float32), PRECISION, UPCAST)
            )
        else:
            dots = dot(
                keys, tl.trans(q), tl.zeros([BLOCK_K, BLOCK_N], tl.float32), PRECISION, UPCAST
            )
        top = tl.load(tops + row, mask=valid, other=0.0)
        row_weight = tl.load(weight + row, mask=valid, other=0.0) * LIFT
        dots = left_out(
            dots, key, row, key < count, valid, mask, negative_labels, query_labels,
            mask_k, mask_n, True, EXCLUDE_DIAGONAL, MASKED, LABELLED,
        )  # fmt: skip
        shares = tl.exp2(tl.fma(dots, scale, -top[None, :])) * row_weight[None, :]
        sums = dot(shares.to(OPERAND), q, sums, PRECISION, UPCAST)
    sums = sums * (tl.load(unit) / LIFT)
    pointers = grad + key.to(tl.int64)[:, None] * grad_k + d.to(tl.int64)[None, :] * grad_d
    tl.store(pointers, sums, mask=(key < count)[:, None] & (d < DIM)[None, :])
