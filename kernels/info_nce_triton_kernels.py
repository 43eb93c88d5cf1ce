"""The kernels of info_nce_triton.py: the sweep over the shared negatives, the merge of its parts,
the gradient of the negatives.

Shapes: N batch, K shared negatives, M extra negatives per query, D feature dimension, S splits of
K. A stride is named by its matrix and dimension: `query_n` steps to the next query.

`sweep_kernel` goes over a share of the shared negatives for a block of rows. It leaves a part of
the softmax: maximum, sum, weighted sum of keys, rank.
`merge_kernel` joins the S parts of a row and its extra negatives. The order is fixed, so results
repeat bit for bit.
`negatives_grad_kernel` recomputes the logits for the gradient of the shared negatives. It takes
their exponentials by the same maximum as the sweep: at logits of 1e5 the digits of a rounded
log-sum-exp would be lost.

Logits are kept in base 2, z = q·n log2(e) / T, for exp2 is what the hardware has.
"""

import triton
import triton.language as tl

# a finite start of the running maximum: exp2(-inf - -inf) would be NaN
LOWEST = tl.constexpr(-1e30)
LOG2E = tl.constexpr(1.4426950408889634)
LN2 = tl.constexpr(0.6931471805599453)
# Softmax weights, at most 1 and mostly far less: lifted by 2^12 they keep their precision in
# float16, and cannot overflow.
LIFT = tl.constexpr(4096.0)


@triton.jit
def _inverse_temperature(temperature, TENSOR_TEMPERATURE: tl.constexpr):
    # With else: what follows a return in a branch is compiled too, and would divide by a pointer.
    if TENSOR_TEMPERATURE:
        inverse = 1.0 / tl.load(temperature).to(tl.float32)
    else:
        inverse = 1.0 / temperature
    return inverse


@triton.jit
def _load_rows(
    pointer,
    index,
    stride_row,
    stride_dim,
    valid,
    DIM: tl.constexpr,
    DIM_PAD: tl.constexpr,
    ALL_VALID: tl.constexpr,
):
    """Rows `index` of a (rows, D) matrix, zero where not `valid` and beyond D; ALL_VALID spares the
    test."""
    d = tl.arange(0, DIM_PAD)
    pointers = (
        pointer + index.to(tl.int64)[:, None] * stride_row + d.to(tl.int64)[None, :] * stride_dim
    )
    if ALL_VALID and DIM == DIM_PAD:
        return tl.load(pointers)
    if ALL_VALID:
        return tl.load(pointers, mask=(d < DIM)[None, :], other=0.0)
    return tl.load(pointers, mask=valid[:, None] & (d < DIM)[None, :], other=0.0)


@triton.jit
def _dot(a, b, acc, PRECISION: tl.constexpr, UPCAST: tl.constexpr):
    if UPCAST:  # Triton's interpreter multiplies bfloat16 as raw bits
        return tl.dot(a.to(tl.float32), b.to(tl.float32), acc, input_precision=PRECISION)
    return tl.dot(a, b, acc, input_precision=PRECISION)


@triton.jit
def _load_vector(pointer, stride, DIM: tl.constexpr, DIM_PAD: tl.constexpr, OPERAND: tl.constexpr):
    """(D,) float32, rounded as a product would take it."""
    d = tl.arange(0, DIM_PAD)
    values = tl.load(pointer + d.to(tl.int64) * stride, mask=d < DIM, other=0.0)
    return values.to(OPERAND).to(tl.float32)


@triton.jit
def _positive_dots(
    query, positive, row, valid, query_n, query_d, positive_n, positive_d,
    DIM: tl.constexpr, OPERAND: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """(rows,) q·k of each query and its positive.

    In slices: whole rows of both in float32 would make the sweep after it spill registers.
    """
    dots = tl.zeros([BLOCK_N], tl.float32)
    for start in range(0, DIM, 32):
        part = start + tl.arange(0, 32)
        inside = valid[:, None] & (part < DIM)[None, :]
        at, along = row.to(tl.int64)[:, None], part.to(tl.int64)[None, :]
        q = tl.load(query + at * query_n + along * query_d, mask=inside, other=0.0)
        k = tl.load(positive + at * positive_n + along * positive_d, mask=inside, other=0.0)
        dots += tl.sum(q.to(OPERAND).to(tl.float32) * k.to(OPERAND).to(tl.float32), 1)
    return dots


@triton.jit
def sweep_kernel(
    query, positive, negatives, temperature,
    tops, totals, ranks, means, positive_dots,
    rows, count, tiles_per_split,
    query_n, query_d, positive_n, positive_d, negatives_k, negatives_d,
    DIM: tl.constexpr, DIM_PAD: tl.constexpr,
    OPERAND: tl.constexpr, TENSOR_TEMPERATURE: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, WHOLE_TILES: tl.constexpr,
    EXCLUDE_DIAGONAL: tl.constexpr, WITH_GRAD: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    # The row block varies fastest: programs that run side by side read the same negatives, so these
    # come from L2.
    split = tl.program_id(1)
    row = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    valid = row < rows
    scale = _inverse_temperature(temperature, TENSOR_TEMPERATURE) * LOG2E
    q = _load_rows(query, row, query_n, query_d, valid, DIM, DIM_PAD, False).to(OPERAND)
    positive_dot = _positive_dots(
        query, positive, row, valid, query_n, query_d, positive_n, positive_d,
        DIM, OPERAND, BLOCK_N,
    )  # fmt: skip
    top, total = tl.zeros([BLOCK_N], tl.float32) + LOWEST, tl.zeros([BLOCK_N], tl.float32)
    rank = tl.zeros([BLOCK_N], tl.int32)
    mean = tl.zeros([BLOCK_N, DIM_PAD], tl.float32)
    d = tl.arange(0, DIM_PAD)
    first = split * tiles_per_split
    last = tl.minimum(first + tiles_per_split, tl.cdiv(count, BLOCK_K))
    for tile in range(first, last):
        key = tile * BLOCK_K + tl.arange(0, BLOCK_K)
        inside = key < count
        keys = _load_rows(
            negatives, key, negatives_k, negatives_d, inside, DIM, DIM_PAD, WHOLE_TILES
        ).to(OPERAND)
        dots = _dot(q, tl.trans(keys), tl.zeros([BLOCK_N, BLOCK_K], tl.float32), PRECISION, UPCAST)
        if not WHOLE_TILES:
            dots = tl.where(inside[None, :], dots, float("-inf"))
        if EXCLUDE_DIAGONAL:
            dots = tl.where(row[:, None] == key[None, :], float("-inf"), dots)
        rank += tl.sum((dots > positive_dot[:, None]).to(tl.int32), 1)
        # The scale stays out of the product and in float32: folding it into a half-precision q
        # would round every logit.
        new_top = tl.maximum(top, tl.max(dots, 1) * scale)
        weights = tl.exp2(tl.fma(dots, scale, -new_top[:, None]))
        shrink = tl.exp2(top - new_top)
        total = total * shrink + tl.sum(weights, 1)
        # The tile just compared is the tile summed: it is loaded once for both products.
        if WITH_GRAD:
            mean = _dot(weights.to(OPERAND), keys, mean * shrink[:, None], PRECISION, UPCAST)
        top = new_top

    place = split.to(tl.int64) * rows + row
    tl.store(tops + place, top, mask=valid)
    tl.store(totals + place, total, mask=valid)
    tl.store(ranks + place, rank, mask=valid)
    if split == 0:  # the same in all of them
        tl.store(positive_dots + row, positive_dot, mask=valid)
    if WITH_GRAD:
        inside = valid[:, None] & (d < DIM)[None, :]
        tl.store(means + place[:, None] * DIM + d[None, :], mean, mask=inside)


@triton.jit
def _join_splits(
    tops, totals, ranks, means, row, rows, splits,
    DIM: tl.constexpr, DIM_PAD: tl.constexpr, SPLITS_PAD: tl.constexpr, BLOCK_S: tl.constexpr,
    WITH_GRAD: tl.constexpr,
):  # fmt: skip
    """(top, total, rank, mean) of a row over all shared negatives: each part shrinks by what its
    maximum is below that of all."""
    d = tl.arange(0, DIM_PAD)
    split = tl.arange(0, SPLITS_PAD)
    inside = split < splits
    place = split.to(tl.int64) * rows + row
    split_tops = tl.load(tops + place, mask=inside, other=LOWEST)
    top = tl.max(split_tops, 0)
    parts = tl.load(totals + place, mask=inside, other=0.0)
    total = tl.sum(tl.exp2(split_tops - top) * parts, 0)
    rank = tl.sum(tl.load(ranks + place, mask=inside, other=0).to(tl.int64), 0)
    mean = tl.zeros([DIM_PAD], tl.float32)
    if WITH_GRAD:
        for start in range(0, splits, BLOCK_S):
            some = start + tl.arange(0, BLOCK_S)
            at = some.to(tl.int64) * rows + row
            shares = tl.exp2(tl.load(tops + at, mask=some < splits, other=LOWEST) - top)
            mask = (some < splits)[:, None] & (d < DIM)[None, :]
            some_means = tl.load(means + at[:, None] * DIM + d[None, :], mask=mask, other=0.0)
            mean += tl.sum(shares[:, None] * some_means, 0)
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
        t = _load_rows(extra, m, extra_m, extra_d, inside, DIM, DIM_PAD, False)
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
    WITH_GRAD: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    d = tl.arange(0, DIM_PAD)
    inverse = _inverse_temperature(temperature, TENSOR_TEMPERATURE)
    scale = inverse * LOG2E
    positive_dot = tl.load(positive_dots + row)
    top, total, rank, mean = _join_splits(
        tops, totals, ranks, means, row, rows, splits,
        DIM, DIM_PAD, SPLITS_PAD, BLOCK_S, WITH_GRAD,
    )  # fmt: skip
    q = _load_vector(query + row * query_n, query_d, DIM, DIM_PAD, OPERAND)
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
    # Comparisons with a NaN are false: without this its rank would be the best.
    # An argument that is 1 is compiled as a constant, which has no `to`.
    worst = tl.full([], worst_rank, tl.int64)
    tl.store(rank_out + row, tl.where(row_loss != row_loss, worst, rank))
    if WITH_GRAD:
        k = _load_vector(positive + row * positive_n, positive_d, DIM, DIM_PAD, OPERAND)
        expected = tl.where(total == 0.0, 0.0, mean / total)  # 0 without a negative
        sigmoid = 1.0 / (1.0 + tl.exp(-margin)) + poison
        tl.store(dq + row * DIM + d, (expected - k) * (sigmoid * inverse), mask=d < DIM)


@triton.jit
def negatives_grad_kernel(
    query, negatives, tops, weight, unit, temperature, grad,
    rows, count,
    query_n, query_d, negatives_k, negatives_d, grad_k, grad_d,
    DIM: tl.constexpr, DIM_PAD: tl.constexpr,
    OPERAND: tl.constexpr, TENSOR_TEMPERATURE: tl.constexpr,
    BLOCK_K: tl.constexpr, BLOCK_N: tl.constexpr, EXCLUDE_DIAGONAL: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    key = tl.program_id(0) * BLOCK_K + tl.arange(0, BLOCK_K)
    d = tl.arange(0, DIM_PAD)
    scale = _inverse_temperature(temperature, TENSOR_TEMPERATURE) * LOG2E
    keys = _load_rows(
        negatives, key, negatives_k, negatives_d, key < count, DIM, DIM_PAD, False
    ).to(OPERAND)
    sums = tl.zeros([BLOCK_K, DIM_PAD], tl.float32)
    for start in range(0, rows, BLOCK_N):
        row = start + tl.arange(0, BLOCK_N)
        valid = row < rows
        q = _load_rows(query, row, query_n, query_d, valid, DIM, DIM_PAD, False).to(OPERAND)
        # The sums must be those of the sweep. What interprets the kernels sums a transposed product
        # in another order; tensor cores do not.
        if UPCAST:
            dots = tl.trans(
                _dot(q, tl.trans(keys), tl.zeros([BLOCK_N, BLOCK_K], tl.float32), PRECISION, UPCAST)
            )
        else:
            dots = _dot(
                keys, tl.trans(q), tl.zeros([BLOCK_K, BLOCK_N], tl.float32), PRECISION, UPCAST
            )
        top = tl.load(tops + row, mask=valid, other=0.0)
        row_weight = tl.load(weight + row, mask=valid, other=0.0) * LIFT
        shares = tl.exp2(tl.fma(dots, scale, -top[None, :])) * row_weight[None, :]
        if EXCLUDE_DIAGONAL:
            shares = tl.where(key[:, None] == row[None, :], 0.0, shares)
        sums = _dot(shares.to(OPERAND), q, sums, PRECISION, UPCAST)
    sums = sums * (tl.load(unit) / LIFT)
    pointers = grad + key.to(tl.int64)[:, None] * grad_k + d.to(tl.int64)[None, :] * grad_d
    tl.store(pointers, sums, mask=(key < count)[:, None] & (d < DIM)[None, :])
