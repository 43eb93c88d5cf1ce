"""Blur negatives: low frequencies alone. The generator is in `blur_torch`."""

from __future__ import annotations

from fastneg.negatives.contract import Negative, register


@register
class Blur(Negative):
    name = "blur"
    about = "low frequencies"
    generate = "fastneg.negatives.blur_torch:generate"
