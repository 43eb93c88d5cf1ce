"""SimCLR: its options and what it can do. The network is in `simclr_torch`."""

from __future__ import annotations

from fastneg.methods.contract import Method, register


@register
class SimCLR(Method):
    name = "simclr"
    about = "in-batch"
    network = "fastneg.methods.simclr_torch:SimCLR"

    feature_dim: int = 128
    temperature: float = 0.1
    negatives_bn: str = "apart"
    bn: str = "none"
