"""BYOL: its options and what it can do. The network is in `byol_torch`."""

from __future__ import annotations

from fastneg.methods.contract import Method, register


@register
class BYOL(Method):
    name = "byol"
    about = "prediction of a target network, no negatives but the non-semantic ones"
    network = "fastneg.methods.byol_torch:BYOL"
    key_encoder = True

    feature_dim: int = 256
    hidden_dim: int = 4096
    key_momentum: float = 0.996
    momentum_schedule: str = "cosine"
    negatives_bn: str = "apart"
    bn: str = "none"
    accumulate: int = 1
