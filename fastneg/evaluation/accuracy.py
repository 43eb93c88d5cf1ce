"""Accuracy with its intervals, and the calibration of a classifier's confidence.

Legend: N images, C classes of the classifier.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from fastneg.counts import counted
from fastneg.data.labels import ABSENT

Z = 1.959963984540054
"""The 97.5% quantile of the normal distribution."""
CALIBRATION_RESAMPLES = 1000
BINS = 15


@dataclass(frozen=True)
class Accuracy:
    top1: float
    """Percent of the images."""
    top5: float
    """Percent of the images."""
    images: int
    """Images whose class the classifier knows: the others do not count."""
    classes: int
    """Classes among them."""
    top1_interval: tuple[float, float]
    """Percent: the 95% interval of `hit_interval`.

    It tells of the choice of images, not of the seed of the training.
    """
    top5_interval: tuple[float, float]
    """Percent, likewise."""

    def figures(self):
        """The fields as a row of evaluation.jsonl has them."""
        intervals = {
            "top1_interval": list(self.top1_interval),
            "top5_interval": list(self.top5_interval),
        }
        return {
            "top1": self.top1,
            "top5": self.top5,
            "images": self.images,
            "classes": self.classes,
            **intervals,
        }


def accuracy(logits, labels, arg_max="all", above=None):
    """Top-1 and top-5 accuracy over the images whose class is known.

    Args:
        logits: (N, C), any float dtype.
        labels: (N,) int64 in the classifier's numbering, ABSENT where its class is not known.
        arg_max: "all": over all C classes; "present": over the classes that occur among the labels.
        above: a class counts as an answer only if its score is above this; None: each does. Of
            votes it is 0: a class that no neighbour votes for is not among the first five, however
            few classes have votes.
    Returns:
        Accuracy. Of equal logits the class with the lower number wins; an image with a NaN among
        its logits counts as wrong.
    Raises:
        ValueError: no image is left, or arg_max is another word.
    """
    known, columns = labels != ABSENT, columns_of(labels, arg_max)
    rank = rank_among(logits[known], labels[known], columns)
    if above is not None:
        true = logits[known].gather(1, labels[known][:, None])[:, 0]
        rank = rank.masked_fill(true <= above, logits.shape[1] + 5)
    first, five = rank < 1, rank < 5
    classes = len(labels[known].unique())
    return Accuracy(
        percent(first), percent(five), len(rank), classes, hit_interval(first), hit_interval(five)
    )


def columns_of(labels, arg_max):
    """The classes among which the answer is sought; None: all.

    With arg_max "present" they are those of the known labels, sorted.

    Raises:
        ValueError: no image is of a known class, or arg_max is neither "all" nor "present".
    """
    if arg_max not in ("all", "present"):
        raise ValueError(f"arg_max is {arg_max!r}: all or present was expected.")
    known = labels != ABSENT
    if not known.any():
        raise ValueError(
            f"None of {counted(len(labels), 'image')} is of a class that the classifier knows: no "
            "accuracy can be given."
        )
    return labels[known].unique() if arg_max == "present" else None


def rank_among(logits, labels, columns):
    """`rank_of` over some of the classes, sorted; None: over all."""
    return (
        rank_of(logits, labels)
        if columns is None
        else rank_of(logits[:, columns], torch.searchsorted(columns, labels))
    )


def rank_of(scores, labels):
    """(N,) int64: the rank of the true class among scores (N, C), 0 for the highest.

    Of equal scores the class with the lower number comes first. A row with a NaN gets the rank C.
    """
    true = scores.gather(1, labels[:, None])
    before = torch.arange(scores.shape[1], device=scores.device) < labels[:, None]
    rank = ((scores > true) | ((scores == true) & before)).sum(1)
    return rank.masked_fill(scores.isnan().any(1), scores.shape[1])


def percent(hits):
    """Share of the true ones among (N,) booleans, in percent."""
    return 100.0 * hits.sum().item() / len(hits)


def hit_interval(hits):
    """The 95% interval (low, high) of a share of hits, in percent, as of `share_interval`.

    Args:
        hits: (N,) bool.
    """
    return share_interval(hits.sum().item() / len(hits), len(hits))


def share_interval(share, count):
    """Wilson's 95% interval (low, high) of a share of independent images, in percent.

    It is never of no width: nine right answers of nine give 70.1 to 100. A bootstrap would give 100
    to 100.

    Args:
        share: 0 to 1.
        count: images, above 0. It need not be a whole number: images that count for more or less
            than one answer each have an effective number.
    Source: Wilson 1927, doi:10.1080/01621459.1927.10502953; Brown, Cai and DasGupta 2001,
        doi:10.1214/ss/1009213286, who recommend it for few images too.
    """
    spread = Z * Z / count
    centre = share + spread / 2
    half = Z * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    low, high = ((centre + side) / (1 + spread) for side in (-half, half))
    # a share of 0 or 1 is an end of its interval, but for rounding
    return 100.0 * max(0.0, min(low, share)), 100.0 * min(1.0, max(high, share))


def answers(logits, columns=None):
    """(predicted (N,) int64, confidence (N,) float32): the highest logit's class and its softmax.

    With columns, over these classes alone.
    """
    some = logits if columns is None else logits[:, columns]
    confidence, place = some.float().softmax(1).max(1)
    return (place if columns is None else columns[place]), confidence


def calibration_error(confidence, right, bins=BINS):
    """The expected calibration error in percent.

    It is the mean distance of confidence and accuracy over bins of equal width, weighted by the
    images in them.

    Args:
        confidence: (N,) in 0 … 1, of the answers.
        right: (N,) bool.
    Source: Guo et al. 2017, arXiv:1706.04599; 15 bins.
    """
    place, gap = _gaps(confidence, right, bins)
    # of a bin: images × (mean confidence − accuracy)
    sums = torch.zeros(bins, dtype=torch.float64).scatter_add(0, place, gap)
    return 100.0 * sums.abs().sum().item() / len(confidence)


def calibration_interval(confidence, right, bins=BINS):
    """The 95% bootstrap interval (low, high) of `calibration_error` over resampled images, in
    percent.

    A resample's error is higher by what the chance of the draw adds to the error of a bin that has
    none, as the error itself is. The quantiles are those around the mean of the resamples, moved to
    the error.
    """
    place, gap = (part.cpu().numpy() for part in _gaps(confidence, right, bins))
    draw, count, found = np.random.default_rng(0), len(gap), []
    for _ in range(CALIBRATION_RESAMPLES):
        some = draw.integers(0, count, count)
        sums = np.bincount(place[some], gap[some], bins)
        found.append(100.0 * np.abs(sums).sum() / count)
    low, high = (float(end) for end in np.quantile(found, [0.025, 0.975]))
    error = calibration_error(confidence, right, bins)
    shift = error - float(np.mean(found))
    return min(error, max(0.0, low + shift)), max(error, min(100.0, high + shift))


def _gaps(confidence, right, bins):
    """(the bin of each image, its confidence − 1 if it is right)."""
    place = (confidence.double() * bins).long().clamp(max=bins - 1)
    return place, confidence.double() - right.double()
