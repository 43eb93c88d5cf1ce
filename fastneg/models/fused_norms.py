"""Fuses batch normalisation with the residual addition and the ReLU after it, in known networks.

What comes after a layer stands in the code of its block, not in the module tree. So only blocks
whose code is known are changed: torch's Sequential, and the classes in BLOCKS. Names, weights and
buffers stay, and so does all that a network computes, up to rounding.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import NamedTuple

from torch import nn

from fastneg.models.batch_norm import GroupedBatchNorm2d, takes_kernel


class Fused(NamedTuple):
    """What `fuse` found."""

    layers: int
    """Of batch normalisation that do their ReLU themselves."""
    additions: int
    """Of these, how many add a residual before it."""


class Block(NamedTuple):
    """How a class of blocks uses its layers."""

    method: str
    """The method of the class that does so; a subclass with another one is not known."""
    pairs: tuple = ()
    """(batch normalisation, the ReLU that alone takes its output), by attribute."""
    last: str = ""
    """The batch normalisation whose output is added to the residual, before a ReLU."""
    forward: type | None = None
    """A class with the block's forward pass without these ReLUs."""
    absent: tuple = ()
    """Attributes that must be None or Identity, for that pass leaves them out."""
    relus: tuple = ()
    """Attributes that must be ReLUs, which that pass leaves out."""


class _Basic:
    def forward(self, x):
        out = self.conv2(self.bn1(self.conv1(x)))
        return self.bn2(out, x if self.downsample is None else self.downsample(x))


class _Bottleneck:
    def forward(self, x):
        out = self.conv3(self.bn2(self.conv2(self.bn1(self.conv1(x)))))
        return self.bn3(out, x if self.downsample is None else self.downsample(x))


class _Convolution:
    def forward(self, x):
        return self.bn(self.conv(x))


TIMM = {"absent": ("drop_block", "aa", "se", "drop_path")}
BLOCKS = {
    "torchvision.models.resnet.ResNet": Block("_forward_impl", (("bn1", "relu"),)),
    "torchvision.models.resnet.BasicBlock": Block(
        "forward", (("bn1", ""),), "bn2", _Basic, relus=("relu",)
    ),
    "torchvision.models.resnet.Bottleneck": Block(
        "forward", (("bn1", ""), ("bn2", "")), "bn3", _Bottleneck, relus=("relu",)
    ),
    "torchvision.models.densenet._DenseLayer": Block(
        "forward", (("norm1", "relu1"), ("norm2", "relu2"))
    ),
    "torchvision.models.googlenet.BasicConv2d": Block("forward", (("bn", ""),), "", _Convolution),
    "torchvision.models.inception.BasicConv2d": Block("forward", (("bn", ""),), "", _Convolution),
    "timm.models.resnet.ResNet": Block("forward_features", (("bn1", "act1"),)),
    "timm.models.resnet.BasicBlock": Block(
        "forward", (("bn1", ""),), "bn2", _Basic, relus=("act1", "act2"), **TIMM
    ),
    "timm.models.resnet.Bottleneck": Block(
        *("forward", (("bn1", ""), ("bn2", "")), "bn3", _Bottleneck),
        relus=("act1", "act2", "act3"),
        **TIMM,
    ),
}
"""{class: `Block`}, by its full name: its package need not be there. The second name of a pair is
empty where `forward` leaves the ReLU out."""


def fuse(module):
    """Fuse layers of batch normalisation in a module with the ReLU after them and the addition
    before it, in place.

    Args:
        module: any network; an already fused one is not changed.
    Returns:
        `Fused`: what this call has fused.
    """
    layers = additions = 0
    for child in list(module.modules()):
        if isinstance(child, nn.Sequential) and _uses(child, nn.Sequential, "forward"):
            layers += _fuse_pairs(child, pairwise(child._modules))
        elif (block := _known(child)) is not None:
            layers += _fuse_pairs(child, block.pairs)
            if block.forward is not None:
                child.__class__ = _with_forward(type(child), block.forward)
            if block.last:
                _take_relu(getattr(child, block.last))
                layers, additions = layers + 1, additions + 1
    return Fused(layers, additions)


def _fuse_pairs(module, pairs):
    """Fuse pairs of attributes, as far as they are what is fused; returns how many were."""
    count = 0
    for norm, relu in pairs:
        layer = getattr(module, norm)
        if not _can_fuse(layer) or (relu and type(getattr(module, relu)) is not nn.ReLU):
            continue
        _take_relu(layer)
        if relu:
            setattr(module, relu, nn.Identity())
        count += 1
    return count


def _can_fuse(layer):
    return takes_kernel(layer) and not getattr(layer, "relu", False)


def _take_relu(layer):
    if type(layer) is nn.BatchNorm2d:
        layer.__class__ = GroupedBatchNorm2d
    layer.relu = True


def _known(module):
    """The `Block` of a module whose layers are all as it says, or None."""
    for kind in type(module).__mro__:
        block = BLOCKS.get(f"{kind.__module__}.{kind.__qualname__}")
        if block is not None and _uses(module, kind, block.method):
            return block if _as_written(module, block) else None
    return None


def _uses(module, kind, method):
    """Whether a module has this method of one of its classes, and no other in its place."""
    return getattr(type(module), method) is getattr(kind, method) and method not in vars(module)


def _as_written(module, block):
    if block.forward is None:
        return True
    norms = [norm for norm, _ in block.pairs] + ([block.last] if block.last else [])
    return (
        all(_can_fuse(getattr(module, norm)) for norm in norms)
        and all(type(getattr(module, name)) is nn.ReLU for name in block.relus)
        and all(
            getattr(module, name, None) is None or type(getattr(module, name)) is nn.Identity
            for name in block.absent
        )
    )


@cache
def _with_forward(kind, forward):
    """A class like `kind`, with the forward pass of another one."""
    return type(kind.__name__, (forward, kind), {"__module__": kind.__module__})
