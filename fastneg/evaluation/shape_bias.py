"""Shape bias with coverage, by the definition of model-vs-human.

Source: Geirhos et al. 2019, arXiv:1811.12231; Geirhos et al. 2021, arXiv:2106.07411.
Legend: N images, C classes, G categories.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fastneg.counts import counted
from fastneg.evaluation.accuracy import share_interval
from fastneg.evaluation.by_class import most_answered


@dataclass(frozen=True)
class ShapeBias:
    shape_bias: float | None
    """Percent: shape decisions / (shape + texture decisions); None if there was neither."""
    coverage: float
    """Percent of the images that were decided by shape or by texture.

    A shape bias means little where it is low.
    """
    by_category: dict
    """{category of the shape: {"shape": n, "texture": n, "other": n}}.

    Categories without images are left out.
    """
    images: int
    """Images with conflicting cues: the others were dropped."""
    without_conflict: int
    """Images that were dropped, because shape and texture agree: coverage is not over them."""
    chance_coverage: float
    """Percent: the coverage of guessing, 2 / categories that can be answered."""
    answered: dict
    """{category: percent of the answers that name it}, of those with images or answers."""
    most_answered: dict
    """The commonest answer, as of `most_answered`.

    Its share of the images is that of the shapes.
    """
    interval: tuple[float, float] | None
    """Percent: the 95% interval over the images decided by shape or by texture.

    None where shape_bias is.
    """

    def figures(self):
        """The fields as a row of evaluation.jsonl has them."""
        bounds = None if self.interval is None else list(self.interval)
        figures = {
            "shape_bias": self.shape_bias,
            "coverage": self.coverage,
            "chance_coverage": self.chance_coverage,
        }
        figures |= {
            "images": self.images,
            "without_conflict": self.without_conflict,
            "by_category": self.by_category,
            "answered": self.answered,
            "most_answered": self.most_answered,
        }
        return figures | ({} if bounds is None else {"shape_bias_interval": bounds})


def shape_bias(probabilities, shape_labels, texture_labels, categories=None):
    """How often an image of conflicting cues is called by its shape.

    Its cues conflict where it has the shape of one category and the texture of another.

    Args:
        probabilities: (N, C), rows that sum to 1 (softmax over all classes of the classifier).
        shape_labels: (N,) int64, positions in `categories`.
        texture_labels: (N,) int64, likewise; images where both agree are dropped.
        categories: {name: classes of the category}; an image's answer is the category with the
            highest mean probability over its classes. None: each class is a category of its own,
            named by its number.
    Returns:
        ShapeBias.
    Raises:
        ValueError: shapes disagree, rows are no probabilities, a category is empty, a label names
            none, or no image has a conflict.
    """
    if categories is None:
        categories = {number: [number] for number in range(probabilities.shape[1])}
    names = list(categories)
    _check(probabilities, shape_labels, texture_labels, categories)
    conflict = shape_labels != texture_labels
    if not conflict.any():
        raise ValueError(
            f"In none of {counted(len(shape_labels), 'image')} do shape and texture disagree: "
            "shape bias needs a conflict of cues."
        )
    probabilities, shape, texture = (
        probabilities[conflict],
        shape_labels[conflict],
        texture_labels[conflict],
    )
    # Means, not sums: else a category of many classes would win by their number.
    scores = torch.stack(
        [probabilities[:, list(members)].double().mean(1) for members in categories.values()], dim=1
    )
    answer = scores.argmax(1)
    by_shape, by_texture = answer == shape, answer == texture
    by_category = {}
    for number in shape.unique().tolist():
        of_it = shape == number
        counts = {
            "shape": (by_shape & of_it).sum().item(),
            "texture": (by_texture & of_it).sum().item(),
        }
        by_category[names[number]] = {**counts, "other": of_it.sum().item() - sum(counts.values())}
    most, seen = most_answered(answer, shape, names), torch.cat([shape, answer]).unique().tolist()
    said = {names[number]: 100.0 * (answer == number).double().mean().item() for number in seen}
    shapes, textures = by_shape.sum().item(), by_texture.sum().item()
    decided = shapes + textures
    share = 100.0 * shapes / decided if decided else None
    dropped, chance = int((~conflict).sum()), 200.0 / len(names)
    found = share, 100.0 * decided / len(answer), by_category, len(answer), dropped, chance
    bounds = share_interval(shapes / decided, decided) if decided else None
    return ShapeBias(*found, said, most, bounds)


def _check(probabilities, shape_labels, texture_labels, categories):
    count, classes = probabilities.shape
    if shape_labels.shape != (count,) or texture_labels.shape != (count,):
        raise ValueError(
            f"{counted(count, 'row')} of probabilities, {tuple(shape_labels.shape)} shape labels "
            f"and {tuple(texture_labels.shape)} texture labels: "
            "one of each was expected for each image."
        )
    sums = probabilities.double().sum(1)
    if not bool((((sums - 1).abs() < 1e-2) & (probabilities >= 0).all(1)).all()):
        raise ValueError(
            "A row of the probabilities is negative somewhere or does not sum to 1: give the "
            "softmax of the logits."
        )
    for name, members in categories.items():
        if not len(members) or min(members) < 0 or max(members) >= classes:
            raise ValueError(
                f"Category {name!r} has the classes {list(members)}: one or more of 0 to "
                f"{classes - 1} were expected."
            )
    for what, labels in (("shape", shape_labels), ("texture", texture_labels)):
        if count and (labels.min() < 0 or labels.max() >= len(categories)):
            raise ValueError(
                f"The {what} labels reach from {labels.min()} to {labels.max()}: 0 to "
                f"{len(categories) - 1} were expected."
            )
