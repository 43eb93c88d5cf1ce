"""Accuracy by class: recall, precision, the distribution of the answers, and whether one answer is
given to most images: its recall there, alone, says nothing.

Legend: N images.
"""

from __future__ import annotations

import torch

from fastneg.evaluation.accuracy import percent

MOST, TIMES = 50.0, 1.25
"""A default answer is given to this percentage of the images, and to so many times as many as are
of its class."""
MANY, MANY_TIMES = 25.0, 3.0
"""Or to so many percent, where far fewer images are of it."""


def class_name(number, names):
    """The name of a class, or its number where `names` is None."""
    return str(number if names is None else names[number])


def class_accuracies(predicted, labels, names):
    """{name: {"top1", "images", "precision", "answered"}} of the classes that occur.

    top1 is the percentage of the class's images that were answered with it: its recall, which a
    class that is answered by default gets for nothing. precision is the percentage of the answers
    with the class that were right, None where there was none; answered the percentage of all N
    images that were answered with it.

    Args:
        predicted: (N,) int64, the answers, of which some may name classes that do not occur.
        labels: (N,) int64, none ABSENT.
        names: class names by number, or None: numbers stand for them.
    """
    found, right = {}, predicted == labels
    for number in labels.unique().tolist():
        own, answered = right[labels == number], predicted == number
        precision = percent(right[answered]) if answered.any() else None
        found[class_name(number, names)] = {
            "top1": percent(own),
            "images": len(own),
            "precision": precision,
            "answered": percent(answered),
        }
    return found


def answer_shares(predicted, labels, names):
    """How the answers are spread: {"most_answered", "answered_elsewhere"}.

    The latter is the share of answers with classes of which no image is here. Arguments as in
    `class_accuracies`.
    """
    elsewhere = percent(~torch.isin(predicted, labels))
    return {
        "most_answered": most_answered(predicted, labels, names),
        "answered_elsewhere": elsewhere,
    }


def group_accuracies(by_class, groups):
    """The accuracies of `class_accuracies`, summed up by groups.

    {group: {"top1": mean over its classes, "images": n, "classes": n, "answered": percent of all
    answers}}.

    Args:
        groups: {group: class names}; classes that are not in by_class are left out, and groups
            without any.
    """
    found = {}
    for group, names in groups.items():
        members = [by_class[name] for name in names if name in by_class]
        if members:
            mean = sum(member["top1"] for member in members) / len(members)
            images, answered = (
                sum(member[field] for member in members) for field in ("images", "answered")
            )
            found[group] = {
                "top1": mean,
                "images": images,
                "classes": len(members),
                "answered": answered,
            }
    return found


def most_answered(predicted, labels, names):
    """The commonest answer.

    {"class": its name, "answered": percent of all answers, "images": percent of the images that are
    of that class}.

    Args:
        predicted, labels: (N,) int64, N above 0.
        names: class names by number, or None: numbers stand for them.
    """
    numbers, counts = torch.unique(predicted, return_counts=True)
    number = int(numbers[counts.argmax()])
    shares = [100.0 * (each == number).sum().item() / len(each) for each in (predicted, labels)]
    name = str(number if names is None else names[number])
    return {"class": name, "answered": shares[0], "images": shares[1]}


def takes_most(found):
    """Whether that answer is a default: given to much of the set, and more often than is right.

    Args:
        found: as of `most_answered`.
    """
    answered, images = found["answered"], found["images"]
    often = answered >= MOST and answered >= TIMES * images
    return often or (answered >= MANY and answered >= MANY_TIMES * images)


def told_of_default(found):
    """The remark on such an answer in words; "" where there is none, or nothing is known."""
    if not found or not takes_most(found):
        return ""
    share = f"{found['answered']:.0f}% of the answers are {found['class']}"
    return f"one answer takes most: {share}, {found['images']:.0f}% of the images"
