"""SupCon: its options and what it can do. The network is in `supcon_torch`."""

from __future__ import annotations

from fastneg.methods.contract import Method, register


@register
class SupCon(Method):
    name = "supcon"
    about = "supervised: images of one label are each other's positives; label -1 is none"
    network = "fastneg.methods.supcon_torch:SupCon"
    labels = True

    feature_dim: int = 128
    temperature: float = 0.1
    negatives_bn: str = "apart"
    bn: str = "none"
