"""MoCo v3: its options and what it can do. The network is in `moco_v3_torch`."""

from __future__ import annotations

from fastneg.methods.contract import Method, register
from fastneg.options import option


@register
class MoCoV3(Method):
    name = "moco_v3"
    about = "symmetric, in-batch keys of a momentum encoder, no queue; for vision transformers too"
    network = "fastneg.methods.moco_v3_torch:MoCoV3"
    key_encoder = True

    feature_dim: int = 256
    hidden_dim: int = 4096
    projector_layers: int = option(3, at_least=2, at_most=5)
    """Linear layers of the projector, each with batch normalisation. Published are 3 for a vision
    transformer and 2 for a ResNet."""
    freeze_patches: bool = True
    """Do not train the patch projection of a vision transformer, which makes its training stable.
    Other networks have none."""
    temperature: float = 0.2
    key_momentum: float = 0.99
    momentum_schedule: str = "cosine"
    negatives_bn: str = "apart"
    bn: str = "none"
