"""Published networks made small: fewer channels for training on CPUs, a small stem for images of a
few tens of pixels.

resnet18_w16 has 16, 32, 64 and 128 channels in its stages, where resnet18 has 64, 128, 256 and 512.
Source of the small stem: the CIFAR ResNets of Chen et al. 2020, arXiv:2002.05709, appendix B.9.
"""

from __future__ import annotations

import re
from functools import partial

import torch
from torch import nn

from fastneg.config import ConfigError

NARROW = re.compile(r"resnet(18|34)_w(\d+)")
LAYERS = {"18": (2, 2, 2, 2), "34": (3, 4, 6, 3)}
"""{depth: blocks of each stage}, as torchvision's."""
WIDEST = 512
STEMS = (("conv1", "maxpool"), ("features.conv0", "features.pool0"))
"""(first convolution, max-pool after it) of ResNets and of DenseNets, in torchvision and timm."""


def is_narrow(name: str) -> bool:
    """Whether a backbone's name is one of these."""
    return NARROW.fullmatch(name) is not None


def narrow_resnet(name: str) -> tuple[nn.Module, int]:
    """torchvision's ResNet of basic blocks with `w` channels in its first stage.

    The names of its tensors, its layers and how they are initialised are torchvision's.

    Args:
        name: resnet18_w<w> or resnet34_w<w>.
    Returns:
        (module from (N, 3, H, W) to (N, F), F), F = 8 w.
    Raises:
        ConfigError: w is 0 or above WIDEST.
    """
    from torchvision.models.resnet import BasicBlock, ResNet

    depth, width = NARROW.fullmatch(name).groups()
    width = int(width)
    if not 1 <= width <= WIDEST:
        raise ConfigError(
            f"--backbone is {name}: 1 to {WIDEST} channels in the first stage were expected "
            "(64 are published)."
        )
    model = ResNet(BasicBlock, LAYERS[depth])
    # ResNet fixes its channels: what has them is made again, in the same way.
    model.inplanes = width
    model.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
    model.bn1 = nn.BatchNorm2d(width)
    for stage, blocks in enumerate(LAYERS[depth]):
        layer = model._make_layer(BasicBlock, width << stage, blocks, stride=1 + (stage > 0))
        setattr(model, f"layer{stage + 1}", layer)
    model.fc = nn.Identity()
    initialise = partial(nn.init.kaiming_normal_, mode="fan_out", nonlinearity="relu")
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            initialise(module.weight)
    return model, width << 3


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
