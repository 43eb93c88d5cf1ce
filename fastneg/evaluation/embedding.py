"""Features in two dimensions, to be drawn.

Legend: N images, F backbone features.
"""

from __future__ import annotations

import torch

from fastneg.evaluation.by_class import class_name


def embedding(features, labels, names, points=600):
    """Features in two dimensions by principal components.

    {"points": [[x, y], …], "labels": names, "explained": percent of the variance, two numbers}.

    Args:
        features: (N, F).
        labels: (N,) int64, none ABSENT.
        points: at most so many images, evenly spread over the file, are given; the components are
            those of all.
    """
    centred = features.double() - features.double().mean(0)
    variances, axes = torch.linalg.eigh(centred.T @ centred / len(centred))
    axes, total = axes[:, [-1, -2]], variances.sum().clamp_min(1e-300)
    # a sign for every machine
    axes = axes * torch.where(axes.gather(0, axes.abs().argmax(0, keepdim=True)) < 0, -1, 1)
    rows = torch.linspace(0, len(features) - 1, min(points, len(features))).round().long()
    shown = [class_name(number, names) for number in labels[rows].tolist()]
    places = [[round(x, 5), round(y, 5)] for x, y in (centred[rows] @ axes).tolist()]
    return {
        "points": places,
        "labels": shown,
        "explained": [100 * (variances[-i] / total).item() for i in (1, 2)],
    }
