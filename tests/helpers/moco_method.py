"""A small MoCo without batch normalisation, and views for it."""

import torch

from fastneg.methods.moco_torch import MoCo
from fastneg.recipes.presets import tiny_cpu


def build(**changes):
    torch.manual_seed(0)
    settings = {
        "queue_size": 24,
        "feature_dim": 16,
        "bn": "none",
        "alpha": 3.0,
        "temperature": 0.2,
        "key_momentum": 0.9,
    }
    return MoCo(tiny_cpu().replace(**{**settings, **changes}))


def views(n=8, m=2):
    return torch.randn(n, 3, 32, 32), torch.randn(n, 3, 32, 32), torch.randn(n, m, 3, 32, 32)
