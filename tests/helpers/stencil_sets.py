"""Images of the built-in set, and what a classifier reads in them."""

import numpy as np

from fastneg.data.stencils import (
    StencilsSpec,
)
from fastneg.data.stencils.render import render

SPEC = StencilsSpec(size=48)


def drawn(set_name, count, spec=SPEC):
    pixels, labels, textures = zip(
        *(render(spec, set_name, index) for index in range(count)), strict=True
    )
    return np.stack(pixels), np.array(labels), np.array(textures)


def accuracy(features, labels, model):
    half = len(labels) // 2
    return model.fit(features[:half], labels[:half]).score(features[half:], labels[half:])
