"""Random images as negatives, a control. The generator is in `random_image_torch`."""

from __future__ import annotations

from fastneg.negatives.contract import Negative, register
from fastneg.registry import imported


@register
class RandomImage(Negative):
    name = "random_image"
    about = "the query view of another image: a control"
    generate = "fastneg.negatives.random_image_torch:generate"
    needs_another_image = True

    def captions(self, batch, config, generator):
        return imported("fastneg.negatives.random_image_torch:captions")(batch, config, generator)
