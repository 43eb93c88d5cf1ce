"""What a call of info_nce asks of its implementations, beside the vectors.

Shapes: N batch, K shared negatives.
"""

from typing import NamedTuple

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
