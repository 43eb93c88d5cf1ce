"""Features in two dimensions, for a picture.

Legend: N images, F backbone features.
"""

from __future__ import annotations

import torch

from fastneg.config import UnfitError
from fastneg.evaluation.by_class import class_name

POINTS = 600
"""Images that are drawn."""
NEIGHBOURHOOD = 5000
"""Images among which UMAP looks for neighbours."""


def embedding(features, labels, names, points=POINTS):
    """Features in two dimensions by principal components.

    {"points": [[x, y], …], "labels": names, "explained": percent of the variance, two numbers}.

    Args:
        features: (N, F).
        labels: (N,) int64, none ABSENT.
        points: at most so many images, evenly spread over the file, are given; the components are
            those of all.
    """
    centred = features.double() - features.double().mean(0)
    axes, explained = _plane(centred.T @ centred / len(centred))
    rows = _spread(len(features), points)
    shown = [class_name(number, names) for number in labels[rows].tolist()]
    return {"points": _places(centred[rows] @ axes), "labels": shown, "explained": explained}


class Picture:
    """Features in two dimensions, of features that come batch by batch: only the images that are
    drawn are kept.

    Args:
        by: "pca", the principal components of all images; or "umap", of images evenly spread over
            the file (McInnes et al. 2018, arXiv:1802.03426).
        count: images in the file.
        names: of the classes, or None.
    Raises:
        ConfigError: umap-learn is missing.
    """

    def __init__(self, by, count, names):
        if by == "umap":
            _umap()
        self.by, self._names = by, names
        most = POINTS if by == "pca" else NEIGHBOURHOOD
        self._wanted = torch.zeros(count, dtype=torch.bool)
        self._wanted[_spread(count, most)] = True
        self._rows, self._labels, self._images = [], [], 0
        self._shift = self._sums = self._squares = None

    def add(self, part):
        """Take in a `fastneg.runs.embed.Part`."""
        rows = part.features.double()
        if self._shift is None:  # near the mean, so that little is lost in the squares
            self._shift = rows.mean(0)
            self._sums, self._squares = 0, 0
        if self.by == "pca":
            rows = rows - self._shift
            self._sums, self._squares = self._sums + rows.sum(0), self._squares + rows.mT @ rows
        self._images += len(rows)
        kept = self._wanted[part.index]
        self._rows.append(rows[kept])
        if part.labels is not None:
            self._labels += part.labels[kept].tolist()

    def figures(self):
        """What a line of kind embedding says: points, labels, by, and with "pca" explained, the
        percent of the variance along both axes."""
        rows = torch.cat(self._rows)
        shown = [self._name(label) for label in self._labels] or ["images"] * len(rows)
        found = {"by": self.by, "images": self._images}
        if self.by == "pca":
            mean = self._sums / self._images
            axes, explained = _plane(self._squares / self._images - mean.outer(mean))
            return {
                **found,
                "points": _places((rows - mean) @ axes),
                "labels": shown,
                "explained": explained,
            }
        places = torch.from_numpy(_umap()(random_state=0).fit_transform(rows.float().numpy()))
        some = _spread(len(rows), POINTS)
        return {
            **found,
            "points": _places(places[some]),
            "labels": [shown[i] for i in some.tolist()],
        }

    def _name(self, label):
        known = self._names is None or 0 <= label < len(self._names)
        return class_name(label, self._names) if known else "no class"


def _umap():
    try:
        from umap import UMAP
    except ImportError:
        raise UnfitError(
            "--picture is umap: that needs the extra umap, pip install 'fastneg[umap]'; or take "
            "pca."
        ) from None
    return UMAP


def _plane(covariance):
    """((F, 2) the two principal axes, percent of the variance along each) of an (F, F) float64
    covariance."""
    variances, axes = torch.linalg.eigh(covariance)
    axes, total = axes[:, [-1, -2]], variances.sum().clamp_min(1e-300)
    # a sign for every machine
    axes = axes * torch.where(axes.gather(0, axes.abs().argmax(0, keepdim=True)) < 0, -1, 1)
    return axes, [100 * (variances[-i] / total).item() for i in (1, 2)]


def _spread(count, most):
    """Positions of up to `most` of so many images, evenly spread."""
    return torch.linspace(0, count - 1, min(most, count)).round().long()


def _places(points):
    return [[round(x, 5), round(y, 5)] for x, y in points.tolist()]
