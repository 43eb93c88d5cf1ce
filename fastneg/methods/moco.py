"""MoCo v2: its options and what it can do. The network is in `moco_torch`."""

from __future__ import annotations

from fastneg.methods.contract import Method, register
from fastneg.options import option


@register
class MoCo(Method):
    name = "moco"
    about = "MoCo v2 with a queue"
    network = "fastneg.methods.moco_torch:MoCo"
    key_encoder = queue = shuffles_keys = True

    feature_dim: int = 128
    temperature: float = 0.2
    queue_size: int = option(16384, at_least=1)
    """Keys in the queue, K."""
    key_momentum: float = 0.999
    momentum_schedule: str = "constant"
    negatives_bn: str = "apart"
    bn: str = "split"
    key_pass: str = "separate"
    accumulate: int = 1
