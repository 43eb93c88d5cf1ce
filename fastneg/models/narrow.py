"""ResNet-18 and ResNet-34 with fewer channels, for training on CPUs: resnet18_w16 has 16, 32, 64
and 128 in its stages, where resnet18 has 64, 128, 256 and 512."""

from __future__ import annotations

import re
from functools import partial

from torch import nn

from fastneg.config import ConfigError

NARROW = re.compile(r"resnet(18|34)_w(\d+)")
LAYERS = {"18": (2, 2, 2, 2), "34": (3, 4, 6, 3)}
"""{depth: blocks of each stage}, as torchvision's."""
WIDEST = 512


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
