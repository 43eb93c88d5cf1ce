"""Checks of the arguments of info_nce.

Shapes: N batch, K shared negatives, M extra negatives per query, D feature dimension.
"""

import math

import torch

from .backend import BACKENDS
from .checks import check_are_tensors, check_choice, check_dim, check_number
from .operators import transforming

REDUCTIONS = ("mean", "sum", "none")
LAYOUTS = ("kd", "dk")
PRECISIONS = ("ieee", "tf32", "bf16")
LONGEST = 1.01
"""Up to this length a row counts as one of length 1: features rounded to bfloat16 are off by
0.004."""
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def check_options(
    reduction="mean", negatives_layout="kd", in_batch=False, precision=None, backend="auto"
):
    """ValueError unless each option is one of its choices."""
    check_choice("reduction", reduction, REDUCTIONS)
    check_choice("negatives_layout", negatives_layout, LAYOUTS)
    check_choice("backend", backend, BACKENDS)
    if in_batch and negatives_layout != "kd":
        raise ValueError(
            f"negatives_layout is {negatives_layout!r} but there are no negatives to lay out: "
            "leave it at its default."
        )
    if precision is not None and precision not in PRECISIONS:
        choices = ", ".join(map(repr, PRECISIONS))
        raise ValueError(f"precision is {precision!r}: None or one of {choices} was expected.")


def check_temperature(temperature, device=None):
    """ValueError unless it is a finite number above 0, or a 0-d floating-point tensor that holds
    one.

    Args:
        device: where a tensor must be; None: anywhere. The value of one on another device than the
            CPU is not looked at, for that would wait for the device.
    """
    if not isinstance(temperature, torch.Tensor):
        check_number("temperature", temperature)
        if not 0 < temperature < math.inf:
            raise ValueError(f"temperature is {temperature}: a finite number above 0 was expected.")
        return
    misplaced = device is not None and temperature.device != device
    if temperature.dim() != 0 or misplaced or not temperature.is_floating_point():
        where = "" if device is None else f" on {device}"
        raise ValueError(
            f"temperature is a {tuple(temperature.shape)} {temperature.dtype} tensor on "
            f"{temperature.device}: a 0-d floating-point tensor{where}, or a float, was expected."
        )
    if temperature.device.type != "cpu" or torch.compiler.is_compiling() or transforming():
        return
    if not 0 < temperature.item() < math.inf:
        raise ValueError(
            f"temperature is a tensor of {temperature.item()}: a finite number above 0 was "
            "expected. Where it is learned, learn its logarithm."
        )


def check_tensors(
    query, positive, negatives, extra, extra_scale, names=("query", "positive", "negatives")
):
    """ValueError unless shapes, dtypes and devices belong together.

    names: what the caller calls the first three.
    """
    named = [*zip(names, (query, positive, negatives), strict=True)]
    if extra is not None:
        named.append(("extra_negatives", extra))
    check_are_tensors(**dict(named))
    _check_shapes(query, positive, negatives, extra, names)
    _check_scale(extra, extra_scale)
    dim, device = query.shape[1], query.device
    for name, tensor in named:
        if tensor.shape[-1] != dim or tensor.device != device:
            raise ValueError(
                f"{names[0]} is {tuple(query.shape)} on {device} but {name} are "
                f"{tuple(tensor.shape)} on {tensor.device}: both need the same feature dimension "
                "and device."
            )
        if tensor.dtype not in DTYPES:
            raise ValueError(
                f"{name} has dtype {tensor.dtype}: float32, bfloat16, float16 or float64 was "
                "expected."
            )


def _check_scale(extra, extra_scale):
    check_number("extra_scale", extra_scale)
    if extra is None and extra_scale != 1.0:
        raise ValueError(
            f"extra_scale is {extra_scale} but there are no extra_negatives for it to scale."
        )
    if not math.isfinite(extra_scale):
        raise ValueError(f"extra_scale is {extra_scale}: a finite number was expected.")


def _check_shapes(query, positive, negatives, extra, names):
    shape = query.shape
    if len(shape) != 2 or shape[0] == 0 or shape[1] == 0:
        raise ValueError(
            f"{names[0]} is {tuple(shape)}: (N, D) with at least one row and one column was "
            "expected."
        )
    if positive.shape != shape:
        raise ValueError(
            f"{names[1]} is {tuple(positive.shape)} but {names[0]} is {tuple(shape)}: each query "
            "has one positive of its shape."
        )
    check_dim(names[2], negatives, 2, '(K, D), or (D, K) with negatives_layout="dk",')
    if extra is not None:
        check_dim("extra_negatives", extra, 3, "(N, M, D)")
        if extra.shape[0] != shape[0]:
            raise ValueError(
                f"extra_negatives are {tuple(extra.shape)} but query has {shape[0]} rows: each "
                "row needs its own."
            )


def check_negatives(query, negatives, extra, itself_excluded):
    """ValueError where each query is left with nothing to be compared with, though it should be.

    A loss without negatives is 0 whatever the features are: a batch of one that is its own
    negatives would train nothing, and look perfect. Shared negatives of no rows, (0, D), are asked
    for in so many words, and give that 0.
    """
    alone = itself_excluded and query.shape[0] == negatives.shape[0] == 1
    if alone and (extra is None or extra.shape[1] == 0):
        raise ValueError(
            "query has one row, so there are no other rows to be the negatives, and the loss would "
            "be 0 whatever the features. Give two rows or more, or negatives."
        )


def check_unit_rows(**matrices):
    """ValueError where a row is longer than 1, but for rounding; waits for the device."""
    for name, matrix in matrices.items():
        lengths = torch.linalg.vector_norm(matrix.detach().double(), dim=-1)
        longest = lengths.max().item() if len(lengths) else 0.0
        if not longest <= LONGEST:
            raise ValueError(
                f"normalised is True but a row of {name} has length {longest:.6g}: divide rows by "
                "their lengths, or leave it at False."
            )


def check_shares(soft_labels, row_weights):
    """ValueError where soft labels are no shares of a target, or a weight is negative or not
    finite; waits for the device."""
    if soft_labels is not None and soft_labels.numel():
        shares = soft_labels.detach().double()
        least, most = shares.min().item(), shares.sum(1).max().item()
        if not (least >= 0 and most <= LONGEST):
            raise ValueError(
                f"soft_labels hold {least:.6g} and a row whose sum is {most:.6g}: shares of 0 or "
                "more were expected, whose sum is at most 1: the positive has the rest."
            )
    if row_weights is not None:
        weights = row_weights.detach()
        if not ((weights >= 0) & weights.isfinite()).all():
            raise ValueError(
                f"row_weights hold {weights.min().item():.6g} to {weights.max().item():.6g}: "
                "finite numbers of 0 or more were expected."
            )


def check_labels(query_labels, negative_labels):
    """Both as int64, or both None; ValueError unless they come together as whole numbers."""
    if query_labels is None and negative_labels is None:
        return None, None
    for name, labels in (("query_labels", query_labels), ("negative_labels", negative_labels)):
        if labels is None:
            raise ValueError(
                f"{name} is None but the other labels are given: query_labels and negative_labels "
                "belong together."
            )
        check_dim(name, labels, 1, "of a whole number for each row")
        if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
            raise ValueError(f"{name} has dtype {labels.dtype}: whole numbers were expected.")
    return query_labels.long().contiguous(), negative_labels.long().contiguous()


def check_left_out(query, negatives, pairs):
    """ValueError unless mask and labels (of `Pairs`) belong to queries and negatives."""
    count, hidden = (len(query), len(negatives)), pairs.negatives_mask
    if hidden is not None:
        check_dim("negatives_mask", hidden, 2, "(N, K)")
        if hidden.dtype != torch.bool:
            raise ValueError(
                f"negatives_mask has dtype {hidden.dtype}: bool was expected, True where a query "
                "is not compared with a negative."
            )
        _check_like("negatives_mask", hidden, count, query)
    if pairs.query_labels is not None:
        _check_like("query_labels", pairs.query_labels, count[:1], query)
        _check_like("negative_labels", pairs.negative_labels, count[1:], query)


def check_targets(query, negatives, pairs):
    """ValueError unless the targets and weights of `Pairs` are possible ones of these rows."""
    check_number("label_smoothing", pairs.label_smoothing)
    if not 0 <= pairs.label_smoothing < 1:
        raise ValueError(
            f"label_smoothing is {pairs.label_smoothing}: a number in [0, 1) was expected."
        )
    count = len(query), len(negatives)
    named = (
        ("soft_labels", pairs.soft_labels, count),
        ("row_weights", pairs.row_weights, count[:1]),
    )
    for name, tensor, shape in named:
        if tensor is None:
            continue
        check_dim(name, tensor, len(shape), "(N, K)" if len(shape) == 2 else "(N,)")
        if not tensor.is_floating_point():
            raise ValueError(f"{name} has dtype {tensor.dtype}: a floating-point one was expected.")
        _check_like(name, tensor, shape, query)


def _check_like(name, tensor, shape, query):
    if tuple(tensor.shape) != shape or tensor.device != query.device:
        raise ValueError(
            f"{name} is {tuple(tensor.shape)} on {tensor.device}: {shape} on {query.device}, as "
            "queries and negatives have it, was expected."
        )
