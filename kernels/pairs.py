"""The losses of pairs, SigLIP's and CLIP's, which compare all rows of one side with all of the
other.

Each pair of rows has a logit l_ij = s x_i·y_j (+ b). A loss is a sum over pairs, and its gradients
are W y and Wᵀ x, with W the weight that it gives to each pair. Here are the sums and the products
of a block of pairs, of one process or of two that meet in a ring; the losses themselves are in
fastneg/losses. Nothing of size n × m is held, and each logit is made once a pass: 6 n m D
operations for SigLIP's loss with its gradients, 8 n m D for CLIP's.

Shapes: n rows of `first`, m of `second`, D feature dimension. Two implementations: pairs_torch.py
and pairs_triton.py.
"""

from __future__ import annotations

import torch

from . import pairs_torch
from .backend import product_backend
from .checks import check_are_tensors, check_dim
from .info_nce_call import wide_dtype
from .info_nce_checks import DTYPES
from .operators import operator, without_autocast


def sigmoid_pairs(
    first, second, scale, bias, *, own=True, with_grad=True, operand="float32", backend="auto"
):
    """The sigmoid loss of a block of pairs, and its gradients in the same pass.

    With W_ij = sigmoid(l_ij), and W_ii = -sigmoid(-l_ii) of rows that belong together.

    Args:
        first: (n, D). second: (m, D). Floating-point, any strides.
        scale, bias: 0-d tensors of the dtype of the sums, s and b.
        own: rows of the same number belong together (n = m); False: no two of these rows do.
        with_grad: False: the loss alone.
        operand: what both sides are rounded to and multiplied in: "float64" (torch only),
            "float32", "tf32" (Triton only), "bfloat16" or "float16".
        backend: "auto" (Triton on CUDA, torch elsewhere), "triton" or "torch".
    Returns:
        (loss (), sum of W (), W y (n, D), Wᵀ x (m, D)), sums over all pairs, in float32 (float64
        for float64). The gradients have no rows, and the sum of W has no value, without with_grad.
    Raises:
        ValueError: shapes, dtypes or devices disagree; the backend takes no such operand.
        RuntimeError: the backend asked for cannot run here.
    """
    _check(first, second, own, scale=scale, bias=bias)
    return torch.ops.fastneg.pair_sigmoid(
        first, second, scale, bias, own, with_grad, operand, backend
    )


def pair_sums(first, second, scale, *, own=True, operand="float32", backend="auto"):
    """The log-sum-exps of the logits of a block of pairs, over its rows and over its columns.

    Arguments as in `sigmoid_pairs`, without a bias.

    Returns:
        (rows (n,), columns (m,), positives (n,)): those of rows of the same number are left out of
        the sums and come as positives; with own False there are none, (0,).
    """
    _check(first, second, own, scale=scale)
    return torch.ops.fastneg.pair_sums(first, second, scale, own, operand, backend)


def softmax_pairs(
    first, second, scale, row_sums, column_sums, row_weights, column_weights, *,
    own=True, operand="float32", backend="auto",
):  # fmt: skip
    """(W y, Wᵀ x) of the softmax over rows and over columns: W_ij = e^{l_ij - r_i} a_i + e^{l_ij -
    c_j} b_j, and W_ii = -(a_i + b_i) of rows that belong together.

    Arguments and dtypes as in `pair_sums`.

    Args:
        row_sums, row_weights: (n,), r and a. column_sums, column_weights: (m,), c and b.
    """
    _check(first, second, own, scale=scale)
    rows = {"row_sums": row_sums, "row_weights": row_weights}
    columns = {"column_sums": column_sums, "column_weights": column_weights}
    for side, named in ((first, rows), (second, columns)):
        _check_shapes(side, (len(side),), named)
    return torch.ops.fastneg.pair_softmax(
        first, second, scale, row_sums, column_sums, row_weights, column_weights, own, operand,
        backend,
    )  # fmt: skip


def _check(first, second, own, **factors):
    """ValueError unless these are sides of pairs, and factors of their logits."""
    check_dim("first", first, 2, "(n, D)")
    check_dim("second", second, 2, "(m, D)")
    counts = [len(first), len(second)]
    if first.shape[1] != second.shape[1] or (own and counts[0] != counts[1]) or 0 in counts:
        raise ValueError(
            f"first is {tuple(first.shape)} and second {tuple(second.shape)}: (n, D) and "
            f"{'(n, D)' if own else '(m, D)'} of one row or more were expected."
        )
    for name, side in (("first", first), ("second", second)):
        if side.dtype not in DTYPES or side.device != first.device:
            raise ValueError(
                f"{name} is {side.dtype} on {side.device}: float32, bfloat16, float16 or float64 "
                f"on {first.device} was expected."
            )
    _check_shapes(first, (), factors)


def _check_shapes(side, shape, named):
    check_are_tensors(**named)
    for name, tensor in named.items():
        if tensor.shape != shape or tensor.device != side.device:
            raise ValueError(
                f"{name} is {tuple(tensor.shape)} on {tensor.device}: {shape} on {side.device} was "
                "expected."
            )


# --- operators ------------------------------------------------------------------------------------


def _gradient_shapes(first, second, operand, with_grad=True):
    return tuple(
        side.new_empty(len(side) if with_grad else 0, side.shape[1], dtype=wide_dtype(operand))
        for side in (first, second)
    )


def _sigmoid_shapes(first, second, scale, bias, own, with_grad, operand, backend):
    number = lambda: first.new_empty((), dtype=wide_dtype(operand))
    return number(), number(), *_gradient_shapes(first, second, operand, with_grad)


@operator(
    "pair_sigmoid",
    "(Tensor first, Tensor second, Tensor scale, Tensor bias, bool own, bool with_grad, "
    "str operand, str backend) -> (Tensor loss, Tensor weight, Tensor to_first, Tensor to_second)",
    _sigmoid_shapes,
)
def _sigmoid(first, second, scale, bias, own, with_grad, operand, backend):
    implementation, kind = _implementation(first, operand, backend)
    with without_autocast(first):
        return implementation.sigmoid(first, second, scale, bias, own, with_grad, kind)


def _sums_shapes(first, second, scale, own, operand, backend):
    counts = len(first), len(second), len(first) if own else 0
    return tuple(first.new_empty(count, dtype=wide_dtype(operand)) for count in counts)


@operator(
    "pair_sums",
    "(Tensor first, Tensor second, Tensor scale, bool own, str operand, str backend) -> "
    "(Tensor rows, Tensor columns, Tensor positives)",
    _sums_shapes,
)
def _sums(first, second, scale, own, operand, backend):
    implementation, kind = _implementation(first, operand, backend)
    with without_autocast(first):
        return implementation.sums(first, second, scale, own, kind)


def _softmax_shapes(
    first, second, scale, row_sums, column_sums, row_weights, column_weights, own, operand, backend
):
    return _gradient_shapes(first, second, operand)


@operator(
    "pair_softmax",
    "(Tensor first, Tensor second, Tensor scale, Tensor row_sums, Tensor column_sums, "
    "Tensor row_weights, Tensor column_weights, bool own, str operand, str backend) -> "
    "(Tensor to_first, Tensor to_second)",
    _softmax_shapes,
)
def _softmax(
    first, second, scale, row_sums, column_sums, row_weights, column_weights, own, operand, backend
):
    implementation, kind = _implementation(first, operand, backend)
    with without_autocast(first):
        return implementation.softmax(
            first, second, scale, row_sums, column_sums, row_weights, column_weights, own, kind
        )


def _implementation(tensor, operand, backend):
    """The module that runs this call, and `operand` as that module takes it."""
    if product_backend(tensor, operand, backend) == "triton":
        from . import pairs_triton  # not at the top: importing fastneg must not import Triton

        return pairs_triton, operand
    return pairs_torch, getattr(torch, operand)
