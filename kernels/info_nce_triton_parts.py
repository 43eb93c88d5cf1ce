"""What the kernels of info_nce share: loads, products, constants.

Shapes: N batch, K shared negatives, M extra negatives per query, D feature dimension. A stride is
named by its matrix and dimension: `query_n` steps to the next query.

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
