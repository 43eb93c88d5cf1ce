"""The sweep of info_nce over the shared negatives, with the loads, products and constants that its
other kernels take from it; the merge of its parts is in info_nce_triton_kernels.py.

Shapes: N batch, K shared negatives, D feature dimension. A stride is named by its matrix and
dimension: `query_n` steps to the next query.

Logits are kept in base 2, z = q·n log2(e) / T, for exp2 is what the hardware has.

A program goes over a share of the shared negatives for a block of rows. It leaves a part of the
softmax: maximum, sum, weighted sum of keys, rank. Three things are done only where they are asked
for, each a compile-time constant, for each costs instructions on every logit:

WITH_GRAD   the weighted sum of keys, the second product.
WITH_RANK   the count of logits above the positive's.
FIXED       rows of unit length bound the logits by 1/T. That bound stands for the maximum: nothing
            is compared, and neither the sum nor the keys are ever rescaled. Without it the maximum
            runs along, and both are rescaled in each tile.
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
# A bound that stands for the maximum lies this many powers of two below it: weights of logits at
# the bound are 2^15, and float16, which ends at 2^16, has the most room below them.
HEADROOM = tl.constexpr(15.0)


@triton.jit
def inverse_temperature(temperature, TENSOR_TEMPERATURE: tl.constexpr):
    # With else: what follows a return in a branch is compiled too, and would divide by a pointer.
    if TENSOR_TEMPERATURE:
        inverse = 1.0 / tl.load(temperature).to(tl.float32)
    else:
        inverse = 1.0 / temperature
    return inverse


@triton.jit
def load_rows(
    pointer,
    index,
    stride_row,
    stride_dim,
    valid,
    DIM: tl.constexpr,
    DIM_PAD: tl.constexpr,
):
    """Rows `index` of a (rows, D) matrix, zero where not `valid` and beyond D."""
    d = tl.arange(0, DIM_PAD)
    pointers = (
        pointer + index.to(tl.int64)[:, None] * stride_row + d.to(tl.int64)[None, :] * stride_dim
    )
    return tl.load(pointers, mask=valid[:, None] & (d < DIM)[None, :], other=0.0)


@triton.jit
def dot(a, b, acc, PRECISION: tl.constexpr, UPCAST: tl.constexpr):
    if UPCAST:  # Triton's interpreter multiplies bfloat16 as raw bits
        return tl.dot(a.to(tl.float32), b.to(tl.float32), acc, input_precision=PRECISION)
    return tl.dot(a, b, acc, input_precision=PRECISION)


@triton.jit
def load_vector(pointer, stride, DIM: tl.constexpr, DIM_PAD: tl.constexpr, OPERAND: tl.constexpr):
    """(D,) float32, rounded as a product would take it."""
    d = tl.arange(0, DIM_PAD)
    values = tl.load(pointer + d.to(tl.int64) * stride, mask=d < DIM, other=0.0)
    return values.to(OPERAND).to(tl.float32)


@triton.jit
def left_out(
    dots, row, key, valid, inside, mask, row_labels, key_labels, mask_n, mask_k,
    WHOLE_TILES: tl.constexpr, EXCLUDE_DIAGONAL: tl.constexpr,
    MASKED: tl.constexpr, LABELLED: tl.constexpr,
):  # fmt: skip
    """The products (rows, keys), those of keys that a row is not compared with at -inf.

    valid, inside: which rows and keys there are; keys beyond are left out unless WHOLE_TILES.
    """
    if not WHOLE_TILES:
        dots = tl.where(inside[None, :], dots, float("-inf"))
    if EXCLUDE_DIAGONAL:
        dots = tl.where(row[:, None] == key[None, :], float("-inf"), dots)
    if MASKED:
        at = row.to(tl.int64)[:, None] * mask_n + key.to(tl.int64)[None, :] * mask_k
        hidden = tl.load(mask + at, mask=valid[:, None] & inside[None, :], other=0)
        dots = tl.where(hidden != 0, float("-inf"), dots)
    if LABELLED:
        own = tl.load(row_labels + row, mask=valid, other=0)
        theirs = tl.load(key_labels + key, mask=inside, other=0)
        dots = tl.where(own[:, None] == theirs[None, :], float("-inf"), dots)
    return dots


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
def _load_keys(
    pointers, inside, d, DIM: tl.constexpr, DIM_PAD: tl.constexpr, WHOLE_TILES: tl.constexpr
):
    """A tile of keys, with no more tests of what is inside than its sizes ask for."""
    if WHOLE_TILES and DIM == DIM_PAD:
        keys = tl.load(pointers)
    elif WHOLE_TILES:
        keys = tl.load(pointers, mask=(d < DIM)[None, :], other=0.0)
    else:
        keys = tl.load(pointers, mask=inside[:, None] & (d < DIM)[None, :], other=0.0)
    return keys


@triton.jit
def _row_sums(values, BY_LANES: tl.constexpr):
    """Sums of each row of a (rows, keys) tile: (rows, 4), or (rows,).

    Of a tile that a tensor core left, four threads hold a row, each two neighbours of every eight
    keys. Their four sums stay apart until the last tile, so no tile is summed across threads.
    """
    if BY_LANES:
        rows: tl.constexpr = values.shape[0]
        eights: tl.constexpr = values.shape[1] // 8
        sums = tl.sum(tl.sum(tl.reshape(values, [rows, eights, 4, 2]), 3), 1)
    else:
        sums = tl.sum(values, 1)
    return sums


@triton.jit
def _places(key, d, negatives_k, negatives_d, NARROW: tl.constexpr):
    """Where the elements of a tile lie, the same for all tiles; in 32 bits where that is enough."""
    if NARROW:
        places = key[:, None] * negatives_k + d[None, :] * negatives_d
    else:
        places = key.to(tl.int64)[:, None] * negatives_k + d.to(tl.int64)[None, :] * negatives_d
    return places


@triton.jit
def _softmax(dots, top, total, mean, scale, bound, BY_LANES: tl.constexpr, FIXED: tl.constexpr):
    """(top, total, mean, weights of the tile), the first three rescaled where the maximum rose.

    The scale stays out of the product and in float32: folding it into a half-precision q would
    round every logit.
    """
    if FIXED:
        weights = tl.exp2(tl.fma(dots, scale, -bound))
        total += _row_sums(weights, BY_LANES)
    else:
        new_top = tl.maximum(top, tl.max(dots, 1) * scale)
        weights = tl.exp2(tl.fma(dots, scale, -new_top[:, None]))
        shrink = tl.exp2(top - new_top)
        total = total * (shrink[:, None] if BY_LANES else shrink) + _row_sums(weights, BY_LANES)
        mean = mean * shrink[:, None]
        top = new_top
    return top, total, mean, weights


@triton.jit
def _store_part(
    tops, totals, ranks, means, top, total, rank, mean, row, valid, first,
    DIM: tl.constexpr, DIM_PAD: tl.constexpr, BLOCK_N: tl.constexpr,
    WITH_GRAD: tl.constexpr, WITH_RANK: tl.constexpr, FIXED: tl.constexpr,
):  # fmt: skip
    """first: the place of this split's first row among the parts."""
    if not FIXED:
        tl.store(tops + first + row, top, mask=valid)
    tl.store(totals + first + row, total, mask=valid)
    if WITH_RANK:
        tl.store(ranks + first + row, rank.to(tl.int32), mask=valid)
    if WITH_GRAD:
        d = tl.arange(0, DIM_PAD)
        inside = valid[:, None] & (d < DIM)[None, :]
        here = means + first * DIM + tl.program_id(0).to(tl.int64) * (BLOCK_N * DIM)
        tl.store(here + tl.arange(0, BLOCK_N)[:, None] * DIM + d[None, :], mean, mask=inside)


@triton.jit
def sweep_kernel(
    query, positive, negatives, temperature, mask, query_labels, negative_labels,
    tops, totals, ranks, means, positive_dots,
    rows, count, tiles_per_split,
    query_n, query_d, positive_n, positive_d, negatives_k, negatives_d, mask_n, mask_k,
    DIM: tl.constexpr, DIM_PAD: tl.constexpr,
    OPERAND: tl.constexpr, TENSOR_TEMPERATURE: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
    WHOLE_TILES: tl.constexpr, NARROW: tl.constexpr, BY_LANES: tl.constexpr,
    EXCLUDE_DIAGONAL: tl.constexpr, MASKED: tl.constexpr, LABELLED: tl.constexpr,
    WITH_GRAD: tl.constexpr, WITH_RANK: tl.constexpr, FIXED: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    # The row block varies fastest: programs side by side read the same negatives, from L2.
    split = tl.program_id(1)
    row = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    valid = row < rows
    scale = inverse_temperature(temperature, TENSOR_TEMPERATURE) * LOG2E
    q = load_rows(query, row, query_n, query_d, valid, DIM, DIM_PAD).to(OPERAND)
    positive_dot = _positive_dots(
        query, positive, row, valid, query_n, query_d, positive_n, positive_d,
        DIM, OPERAND, BLOCK_N,
    )  # fmt: skip
    if split == 0:  # the same in all of them
        tl.store(positive_dots + row, positive_dot, mask=valid)
    bound = scale - HEADROOM
    top = tl.zeros([BLOCK_N], tl.float32) + (bound if FIXED else LOWEST)
    total = _row_sums(tl.zeros([BLOCK_N, BLOCK_K], tl.float32), BY_LANES)
    # Counted in float32, exact below 2^24: one instruction compares into 1.0 or 0.0, another adds.
    rank = total
    mean = tl.zeros([BLOCK_N, DIM_PAD], tl.float32)
    d = tl.arange(0, DIM_PAD)
    ahead = tl.arange(0, BLOCK_K)
    places = _places(ahead, d, negatives_k, negatives_d, NARROW)
    first = split * tiles_per_split
    last = tl.minimum(first + tiles_per_split, tl.cdiv(count, BLOCK_K))
    for tile in range(first, last):
        start = tile * BLOCK_K
        key = start + ahead
        inside = key < count
        pointers = negatives + start.to(tl.int64) * negatives_k + places
        keys = _load_keys(pointers, inside, d, DIM, DIM_PAD, WHOLE_TILES).to(OPERAND)
        dots = dot(q, tl.trans(keys), tl.zeros([BLOCK_N, BLOCK_K], tl.float32), PRECISION, UPCAST)
        dots = left_out(
            dots, row, key, valid, inside, mask, query_labels, negative_labels,
            mask_n, mask_k, WHOLE_TILES, EXCLUDE_DIAGONAL, MASKED, LABELLED,
        )  # fmt: skip
        if WITH_RANK:
            rank += _row_sums(tl.where(dots > positive_dot[:, None], 1.0, 0.0), BY_LANES)
        top, total, mean, weights = _softmax(dots, top, total, mean, scale, bound, BY_LANES, FIXED)
        # The tile just compared is the tile summed: it is loaded once for both products.
        if WITH_GRAD:
            mean = dot(weights.to(OPERAND), keys, mean, PRECISION, UPCAST)

    if BY_LANES:
        total, rank = tl.sum(total, 1), tl.sum(rank, 1)
    _store_part(
        tops, totals, ranks, means, top, total, rank, mean, row, valid, split.to(tl.int64) * rows,
        DIM, DIM_PAD, BLOCK_N, WITH_GRAD, WITH_RANK, FIXED,
    )  # fmt: skip
