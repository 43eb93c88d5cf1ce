"""What stands for an open data set where labels, classes and names alone count."""

from types import SimpleNamespace

import numpy as np


def fake(labels, classes=None, names=None, **ints):
    ints = {name: np.asarray(values) for name, values in ints.items()}
    labels = None if labels is None else np.asarray(labels)
    kinds = {"image": "image", **dict.fromkeys(ints, "int")}
    return SimpleNamespace(
        path="x.beton",
        labels=labels,
        classes=classes,
        names=names,
        ints=ints,
        fields=list(kinds),
        kinds=kinds,
    )
