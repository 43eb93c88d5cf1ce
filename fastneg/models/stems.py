"""The small stem: the first layers of a network, for images of a few tens of pixels.

Source: the CIFAR ResNets of Chen et al. 2020, arXiv:2002.05709, appendix B.9.
"""

from __future__ import annotations

import torch
from torch import nn

from fastneg.config import ConfigError

STEMS = (("conv1", "maxpool"), ("features.conv0", "features.pool0"))
"""(first convolution, max-pool after it) of ResNets and of DenseNets, in torchvision and timm."""


def small_stem(model: nn.Module, name: str) -> None:
    """Give a network a first convolution of 3×3 with stride 1, and no max-pool, in place.

    Args:
        name: of the network, for the message.
    Raises:
        ConfigError: it has no such stem.
    """
    for first, pool in STEMS:
        found = {path: module for path, module in model.named_modules() if path in (first, pool)}
        old = found.get(first)
        if len(found) == 2 and isinstance(old, nn.Conv2d) and old.in_channels == 3:
            made = nn.Conv2d(3, old.out_channels, 3, 1, 1, bias=old.bias is not None)
            with torch.no_grad():
                nn.init.kaiming_normal_(made.weight, mode="fan_out", nonlinearity="relu")
            put(model, first, made)
            put(model, pool, nn.Identity())
            return
    raise ConfigError(
        f"--stem is small, but {name} does not begin with a 7×7 convolution and a max-pool, as "
        "ResNets and DenseNets do: leave it out. For small images take a vision transformer with "
        "smaller patches."
    )


def put(model: nn.Module, path: str, module: nn.Module) -> None:
    """Set the module at a path of a network in the place of the one that is there."""
    parent, _, attribute = path.rpartition(".")
    setattr(model.get_submodule(parent), attribute, module)
