"""The kernels of the losses of pairs; their launches are in pairs_triton.py.

Shapes: n rows of one side, m of the other, D feature dimension. A stride is named by its matrix:
`first_n` steps to the next row of `first`; the features of a row lie side by side.

A program makes one tile of the (n, m) products, going over D in parts, and does with it what the
loss asks for: sums, or the weights that its gradients give to each pair. Sums of tiles are joined
in a fixed order. Weights go into a matrix that the last kernel multiplies with both sides.
"""

import triton
import triton.language as tl

from .info_nce_sweep_kernel import LIFT, LN2, LOG2E, LOWEST, dot

# log(1 + x) / x on [0, 1], interpolated at Chebyshev's nodes: a_0 + a_1 x + …
LOG1P_0 = tl.constexpr(0.999999995)
LOG1P_1 = tl.constexpr(-0.499998926)
LOG1P_2 = tl.constexpr(0.333297105)
LOG1P_3 = tl.constexpr(-0.249516163)
LOG1P_4 = tl.constexpr(0.196632743)
LOG1P_5 = tl.constexpr(-0.152696671)
LOG1P_6 = tl.constexpr(0.105436238)
LOG1P_7 = tl.constexpr(-0.0563736127)
LOG1P_8 = tl.constexpr(0.0195425272)
LOG1P_9 = tl.constexpr(-0.00317605701)


@triton.jit
def _products(
    first, second, row, column, rows, columns, first_n, second_n,
    DIM: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_D: tl.constexpr,
    WHOLE: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """(rows, columns) x·y of a tile; WHOLE: no tile reaches over an edge."""
    dots = tl.zeros([BLOCK_N, BLOCK_M], tl.float32)
    d = tl.arange(0, BLOCK_D)
    x_at = first + row.to(tl.int64)[:, None] * first_n + d[None, :]
    y_at = second + column.to(tl.int64)[:, None] * second_n + d[None, :]
    for start in range(0, DIM, BLOCK_D):
        if WHOLE:
            x, y = tl.load(x_at), tl.load(y_at)
        else:
            inside = (start + d < DIM)[None, :]
            x = tl.load(x_at, mask=(row < rows)[:, None] & inside, other=0.0)
            y = tl.load(y_at, mask=(column < columns)[:, None] & inside, other=0.0)
        dots = dot(x, tl.trans(y), dots, PRECISION, UPCAST)
        x_at += BLOCK_D
        y_at += BLOCK_D
    return dots


@triton.jit
def _on_diagonal(BLOCK_N: tl.constexpr, BLOCK_M: tl.constexpr):
    """Whether a tile holds pairs of the same number."""
    first_row, first_column = tl.program_id(0) * BLOCK_N, tl.program_id(1) * BLOCK_M
    return (first_row < first_column + BLOCK_M) & (first_column < first_row + BLOCK_N)


@triton.jit
def _kept(values, row, column, rows, columns, OWN: tl.constexpr, WHOLE: tl.constexpr):
    """The values of a tile, 0 for pairs that are none and, with OWN, of the same number."""
    if not WHOLE:
        values = tl.where((row < rows)[:, None] & (column < columns)[None, :], values, 0.0)
    if OWN:
        values = tl.where(row[:, None] == column[None, :], 0.0, values)
    return values


@triton.jit
def _store_weights(weights, values, row, column, rows, width, weights_n):
    """width: columns rounded up, so that rows are read as vectors."""
    at = weights + row[:, None] * weights_n + column[None, :]
    inside = (row < rows)[:, None] & (column < width)[None, :]
    tl.store(at, (values * LIFT).to(weights.dtype.element_ty), mask=inside)


@triton.jit
def _log1p(small):
    """log(1 + small) for small in [0, 1], exact to 1.4e-7 of itself, however small it is.

    A polynomial: a logarithm of 1 + small would lose the digits of what is small, and would take
    the unit that the exponentials wait for.
    """
    value = tl.full(small.shape, LOG1P_9, tl.float32)
    value = tl.fma(value, small, LOG1P_8)
    value = tl.fma(value, small, LOG1P_7)
    value = tl.fma(value, small, LOG1P_6)
    value = tl.fma(value, small, LOG1P_5)
    value = tl.fma(value, small, LOG1P_4)
    value = tl.fma(value, small, LOG1P_3)
    value = tl.fma(value, small, LOG1P_2)
    value = tl.fma(value, small, LOG1P_1)
    value = tl.fma(value, small, LOG1P_0)
    return value * small


@triton.jit
def pair_sigmoid_kernel(
    first, second, scale, bias, losses, sums, diagonal, weights,
    rows, columns, width, first_n, second_n, weights_n,
    DIM: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_D: tl.constexpr,
    OWN: tl.constexpr, WITH_GRAD: tl.constexpr, WHOLE: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """A tile of SigLIP's loss: its part of the loss and of the sum of weights, and the weights.

    OWN: pairs of the same number belong together. Their weights stay in float32, in `diagonal`.
    """
    row = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    column = tl.program_id(1) * BLOCK_M + tl.arange(0, BLOCK_M)
    dots = _products(
        first, second, row, column, rows, columns, first_n, second_n,
        DIM, BLOCK_N, BLOCK_M, BLOCK_D, WHOLE, PRECISION, UPCAST,
    )  # fmt: skip
    logits = tl.fma(dots, tl.load(scale), tl.load(bias))
    if OWN:
        logits = tl.where(row[:, None] == column[None, :], -logits, logits)
    # softplus(l) and sigmoid(l) of one exponential that cannot overflow
    small = tl.exp2(-tl.abs(logits) * LOG2E)
    loss = _kept(tl.maximum(logits, 0.0) + _log1p(small), row, column, rows, columns, False, WHOLE)
    place = tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)
    tl.store(losses + place, tl.sum(tl.sum(loss, 1), 0))
    if WITH_GRAD:
        share = tl.where(logits >= 0, 1.0, small) / (1.0 + small)
        others = _kept(share, row, column, rows, columns, OWN, WHOLE)
        total = tl.sum(tl.sum(others, 1), 0)
        if OWN and _on_diagonal(BLOCK_N, BLOCK_M):
            own = row[:, None] == column[None, :]
            inside = (row < rows) & (row // BLOCK_M == tl.program_id(1))
            mine = tl.where(inside, -tl.sum(tl.where(own, share, 0.0), 1), 0.0)
            tl.store(diagonal + row, mine, mask=inside)
            total += tl.sum(mine, 0)
        tl.store(sums + place, total)
        _store_weights(weights, others, row, column, rows, width, weights_n)


@triton.jit
def _log_sum(values, axis: tl.constexpr):
    """log2 of the sum of 2^values along an axis; -inf where all of them are."""
    top = tl.maximum(tl.max(values, axis), LOWEST)
    if axis == 1:
        total = tl.sum(tl.exp2(values - top[:, None]), 1)
    else:
        total = tl.sum(tl.exp2(values - top[None, :]), 0)
    return top + tl.log2(total)


@triton.jit
def pair_sums_kernel(
    first, second, scale, row_parts, column_parts, positives,
    rows, columns, first_n, second_n,
    DIM: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_D: tl.constexpr,
    OWN: tl.constexpr, WHOLE: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """A tile of CLIP's sums: the log-sum-exps, base 2, of its rows and of its columns.

    OWN: pairs of the same number are left out of them, and their logits are kept.
    """
    row = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    column = tl.program_id(1) * BLOCK_M + tl.arange(0, BLOCK_M)
    dots = _products(
        first, second, row, column, rows, columns, first_n, second_n,
        DIM, BLOCK_N, BLOCK_M, BLOCK_D, WHOLE, PRECISION, UPCAST,
    )  # fmt: skip
    inverse = tl.load(scale)
    there = (row < rows)[:, None] & (column < columns)[None, :]
    if OWN:
        own = row[:, None] == column[None, :]
        if _on_diagonal(BLOCK_N, BLOCK_M):
            mine = tl.sum(tl.where(own, dots, 0.0), 1) * inverse
            inside = (row < rows) & (row // BLOCK_M == tl.program_id(1))
            tl.store(positives + row, mine, mask=inside)
        there = there & (row[:, None] != column[None, :])
    logits = tl.where(there, dots * (inverse * LOG2E), float("-inf"))
    at = tl.program_id(1).to(tl.int64) * rows + row
    tl.store(row_parts + at, _log_sum(logits, 1), mask=row < rows)
    at = tl.program_id(0).to(tl.int64) * columns + column
    tl.store(column_parts + at, _log_sum(logits, 0), mask=column < columns)


@triton.jit
def _merge(parts, sums, count, of, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    top, total = tl.full([BLOCK], LOWEST, tl.float32), tl.zeros([BLOCK], tl.float32)
    parts += at
    for _ in range(of):
        values = tl.load(parts, mask=at < count, other=0.0)
        above = tl.maximum(top, values)
        total = total * tl.exp2(top - above) + tl.exp2(values - above)
        top = above
        parts += count
    tl.store(sums + at, (top + tl.log2(total)) * LN2, mask=at < count)


@triton.jit
def pair_merge_kernel(
    row_parts, column_parts, row_sums, column_sums, rows, columns, of_rows, of_columns,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """The log-sum-exp of each row and of each column from those of the tiles, in their order."""
    if tl.program_id(1) == 0:
        _merge(row_parts, row_sums, rows, of_rows, BLOCK)
    else:
        _merge(column_parts, column_sums, columns, of_columns, BLOCK)


@triton.jit
def pair_softmax_kernel(
    first, second, scale, row_sums, column_sums, row_weights, column_weights, weights,
    rows, columns, width, first_n, second_n, weights_n,
    DIM: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_D: tl.constexpr,
    OWN: tl.constexpr, WHOLE: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """A tile of the weights that CLIP's gradients give to each pair: e^{l - r} a + e^{l - c} b."""
    row = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    column = tl.program_id(1) * BLOCK_M + tl.arange(0, BLOCK_M)
    dots = _products(
        first, second, row, column, rows, columns, first_n, second_n,
        DIM, BLOCK_N, BLOCK_M, BLOCK_D, WHOLE, PRECISION, UPCAST,
    )  # fmt: skip
    inverse = tl.load(scale) * LOG2E
    r = tl.load(row_sums + row, mask=row < rows, other=0.0) * LOG2E
    c = tl.load(column_sums + column, mask=column < columns, other=0.0) * LOG2E
    a = tl.load(row_weights + row, mask=row < rows, other=0.0)
    b = tl.load(column_weights + column, mask=column < columns, other=0.0)
    logits = dots * inverse
    values = tl.exp2(logits - r[:, None]) * a[:, None] + tl.exp2(logits - c[None, :]) * b[None, :]
    values = _kept(values, row, column, rows, columns, OWN, WHOLE)
    _store_weights(weights, values, row, column, rows, width, weights_n)


@triton.jit
def _product(
    weights, weights_n, weights_m, others, others_m, diagonal, out,
    rows, columns, row_width, column_width,
    DIM: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_M: tl.constexpr,
    OWN: tl.constexpr, ADD: tl.constexpr, WHOLE: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    d = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    ahead = tl.arange(0, BLOCK_M)
    there = (row < rows)[:, None] & (d < DIM)[None, :]
    at = row.to(tl.int64)[:, None]
    if ADD:  # taken in before the loop, for after it registers are scarce
        sums = tl.load(out + at * DIM + d[None, :], mask=there, other=0.0) * LIFT
    else:
        sums = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
    weights_at = weights + row[:, None] * weights_n + ahead[None, :] * weights_m
    others_at = others + ahead.to(tl.int64)[:, None] * others_m + d[None, :]
    for start in range(0, columns, BLOCK_M):
        if WHOLE:
            share, other = tl.load(weights_at), tl.load(others_at)
        else:
            inside = (row < row_width)[:, None] & (start + ahead < column_width)[None, :]
            share = tl.load(weights_at, mask=inside, other=0.0)
            inside = (start + ahead < columns)[:, None] & (d < DIM)[None, :]
            other = tl.load(others_at, mask=inside, other=0.0)
        sums = dot(share, other, sums, PRECISION, UPCAST)
        weights_at += BLOCK_M * weights_m
        others_at += BLOCK_M * others_m
    sums *= 1.0 / LIFT
    if OWN:
        mine = tl.load(diagonal + row, mask=row < rows, other=0.0)
        partner = tl.load(others + at * others_m + d[None, :], mask=there, other=0.0)
        sums += mine[:, None] * partner.to(tl.float32)
    tl.store(out + at * DIM + d[None, :], sums, mask=there)


@triton.jit
def pair_product_kernel(
    weights, diagonal, first, second, to_first, to_second,
    rows, columns, width, first_n, second_n, weights_n,
    DIM: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_M: tl.constexpr,
    OWN: tl.constexpr, ADD_FIRST: tl.constexpr, ADD_SECOND: tl.constexpr, WHOLE: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """W y for the rows and Wᵀ x for the columns, side by side in one launch.

    OWN: with the diagonal of W, which it holds in float32. ADD_FIRST, ADD_SECOND: to what is there.
    """
    if tl.program_id(2) == 0:
        _product(
            weights, weights_n, 1, second, second_n, diagonal, to_first,
            rows, columns, rows, width,
            DIM, BLOCK_N, BLOCK_D, BLOCK_M, OWN, ADD_FIRST, WHOLE, PRECISION, UPCAST,
        )  # fmt: skip
    else:
        _product(
            weights, 1, weights_n, first, first_n, diagonal, to_second,
            columns, rows, width, rows,
            DIM, BLOCK_N, BLOCK_D, BLOCK_M, OWN, ADD_SECOND, WHOLE, PRECISION, UPCAST,
        )  # fmt: skip
