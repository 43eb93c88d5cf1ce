"""Blur negatives: low frequencies alone. The generator is in `blur_torch`."""

from __future__ import annotations

from fastneg.negatives.contract import Negative, register
from fastneg.registry import imported


@register
class Blur(Negative):
    name = "blur"
    about = "low frequencies"
    generate = "fastneg.negatives.blur_torch:generate"

    def captions(self, batch, config, generator):
        return imported("fastneg.negatives.blur_torch:captions")(batch, config, generator)
