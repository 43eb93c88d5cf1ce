"""The options of a call of info_nce, as its backends get them.

Shapes: N batch, K shared negatives.
"""

from typing import NamedTuple, TypedDict

import torch


class LeftOut(NamedTuple):
    """Which shared negatives a query is not compared with."""

    diagonal: bool = False
    """Query i leaves out negative i."""
    mask: torch.Tensor | None = None
    """(N, K) bool, True where query i leaves out negative j."""
    query_labels: torch.Tensor | None = None
    """(N,) int64, with negative_labels: query i leaves out the negatives of its own label."""
    negative_labels: torch.Tensor | None = None
    """(K,) int64."""


class Wanted(NamedTuple):
    """What is worth its time to the caller."""

    grad: bool = True
    """dloss/dquery of each row."""
    rank: bool = True
    """How many logits lie above the positive's."""
    normalised: bool = False
    """Rows are of unit length, so that no logit is beyond 1/T."""


LARGEST_BOUND = 44.0
"""The greatest 1/T for which exp(logit) and a long sum of them are normal numbers in float32 and
bfloat16, whatever the logits are."""


def bounded(temperature, largest=LARGEST_BOUND):
    """Whether 1/T, the bound of the logits of unit rows, makes their maximum unnecessary.

    Of a temperature in a tensor nothing is known here, for reading it would wait for the device:
    there the maximum runs along.
    """
    return not isinstance(temperature, torch.Tensor) and 1 / temperature <= largest


def operand_of(tensors, precision=None):
    """What the products are taken in: "float64", "float32", "tf32", "bfloat16" or "float16".

    Args:
        tensors: floating-point, or None; of unlike dtypes the finest counts. Where autocast is on,
            float32 is rounded to its dtype unless a precision is given.
        precision: of float32 products: "ieee", "tf32" or "bf16"; None: none is asked for.
    Raises:
        ValueError: a precision is given, but the tensors are not float32.
    """
    tensors = [tensor for tensor in tensors if tensor is not None]
    dtype = tensors[0].dtype
    for tensor in tensors[1:]:
        if tensor.dtype != dtype:
            dtype = torch.promote_types(dtype, tensor.dtype)
    if precision is not None:
        if dtype != torch.float32:
            raise ValueError(
                f"precision is {precision!r} but the inputs are {dtype}: it says how float32 is "
                "multiplied; leave it at None."
            )
        return {"ieee": "float32", "tf32": "tf32", "bf16": "bfloat16"}[precision]
    device = tensors[0].device.type
    if dtype == torch.float32 and torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
    return str(dtype).removeprefix("torch.")


def stored_dtype(operand):
    """The dtype of tensors whose products are taken in `operand`."""
    return getattr(torch, operand.replace("tf32", "float32"))


def wide_dtype(operand):
    """The dtype of sums of products that are taken in `operand`."""
    return torch.float64 if operand == "float64" else torch.float32


class PairOptions(TypedDict, total=False):
    """Options of `info_nce` about single pairs and rows."""

    negatives_mask: torch.Tensor | None
    """(N, K) bool, True where a query is not compared with a shared negative, a false one say."""
    query_labels: torch.Tensor | None
    """(N,) whole numbers, with negative_labels: a query is not compared with shared negatives of
    its own label. Every number is one, -1 too."""
    negative_labels: torch.Tensor | None
    """(K,) whole numbers; of in-batch negatives they are the queries'."""
    label_smoothing: float
    """Share of the target, in [0, 1), that is spread evenly over the positive and all that the
    query is compared with, as in torch's cross_entropy. With a mask or labels it takes the memory
    of an (N, K) matrix."""
    soft_labels: torch.Tensor | None
    """(N, K), what of the target each shared negative has, 0 where it is left out; the positive has
    the rest. The softmax of another model, say. With FASTNEG_DEBUG=1 in the environment, shares
    below 0 or of more than 1 together are refused."""
    row_weights: torch.Tensor | None
    """(N,), a factor on each row's loss; the mean is divided by their sum, and is 0 where all of
    them are."""


class Pairs(NamedTuple):
    """The same with their defaults."""

    negatives_mask: torch.Tensor | None = None
    query_labels: torch.Tensor | None = None
    negative_labels: torch.Tensor | None = None
    label_smoothing: float = 0.0
    soft_labels: torch.Tensor | None = None
    row_weights: torch.Tensor | None = None
