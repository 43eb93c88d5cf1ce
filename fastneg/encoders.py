"""Backbones by name, the projector, batch normalisation that leaks nothing, and the momentum update.

Legend: N batch, F backbone features, D feature dimension, C channels, H W pixels, S splits.
"""

from __future__ import annotations

import difflib
import math

import torch
import torch.nn.functional as F
from torch import nn


class Encoder(nn.Module):
    """Backbone and MLP head: (N, 3, H, W) images to (N, D) float32 features, of unit length unless told otherwise.

    The head is MoCo v2's (one hidden layer as wide as the backbone's features, no batch normalisation), or with `hidden_dim` BYOL's (one
    of that width, normalised).
    Source: Chen et al. 2020, arXiv:2003.04297; Grill et al. 2020, arXiv:2006.07733.
    """

    def __init__(self, backbone, feature_dim, *, hidden_dim=None, unit_length=True):
        super().__init__()
        self.backbone, width = build_backbone(backbone)
        self.projector = mlp(width, hidden_dim or width, feature_dim, norm=hidden_dim is not None)
        self.unit_length = unit_length

    def forward(self, images):
        features = self.projector(self.backbone(images)).float()
        return F.normalize(features, dim=1) if self.unit_length else features


def mlp(width, hidden, out, norm=False):
    """One hidden layer with ReLU, batch-normalised before it if `norm`."""
    normalised = [nn.BatchNorm1d(hidden)] if norm else []
    return nn.Sequential(nn.Linear(width, hidden), *normalised, nn.ReLU(inplace=True), nn.Linear(hidden, out))


def build_backbone(name):
    """A classification network without its classifier.

    Args:
        name: a torchvision model (resnet50, convnext_tiny, …), or resnet_tiny.
    Returns:
        (module from (N, 3, H, W) to (N, F), F).
    Raises:
        ValueError: no such model, or one that does not end in a linear classifier.
    """
    if name == "resnet_tiny":
        return ResNetTiny(), ResNetTiny.features
    from torchvision.models import get_model, list_models

    known = [*list_models(module=__import__("torchvision").models), "resnet_tiny"]
    if name not in known:
        near = difflib.get_close_matches(name, known, 3)
        raise ValueError(
            f"There is no backbone {name!r}: a torchvision classification model or resnet_tiny was expected"
            + (f"; near it: {', '.join(near)}." if near else ".")
        )
    model = get_model(name, weights=None)
    linear = [path for path, module in model.named_modules() if isinstance(module, nn.Linear) and module.out_features == 1000]
    if len(linear) != 1:
        raise ValueError(
            f"{name} has {len(linear)} linear classifiers, one was expected: take a backbone of another family (resnet, convnext, vit, …)."
        )
    parent, _, attribute = linear[0].rpartition(".")
    parent = model.get_submodule(parent)
    width = getattr(parent, attribute).in_features
    setattr(parent, attribute, nn.Identity())
    return model, width


class ResNetTiny(nn.Module):
    """Three residual blocks of 32, 64 and 128 channels, 0.3 M parameters: for images of 32 to 64 px, trained in minutes on a CPU."""

    features = 128

    def __init__(self):
        super().__init__()
        from torchvision.models.resnet import BasicBlock

        def block(before, after):
            shortcut = nn.Sequential(nn.Conv2d(before, after, 1, 2, bias=False), nn.BatchNorm2d(after))
            return BasicBlock(before, after, 2, shortcut)

        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True))
        self.blocks = nn.Sequential(BasicBlock(32, 32), block(32, 64), block(64, 128))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images):
        return self.blocks(self.stem(images)).mean((2, 3))


class SplitBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation with its own statistics for each of S consecutive parts of the batch.

    One device acts as S small ones: with the key batch permuted, a query and its key share no statistics by which they could be
    matched. The running statistics move to the mean over the parts. Weights and buffers are those of BatchNorm2d.
    Source: the shuffled batch normalisation of He et al. 2020, arXiv:1911.05722, section 3.3, on one device.
    """

    splits = 1

    def forward(self, images):
        if not self.training or self.splits == 1:
            return super().forward(images)
        if len(images) % self.splits:
            raise ValueError(
                f"A batch of {len(images)} does not divide into {self.splits} splits of batch normalisation: change bn_splits."
            )
        mean, var = self.running_mean.repeat(self.splits, 1), self.running_var.repeat(self.splits, 1)
        parts = [
            F.batch_norm(part, mean[i], var[i], self.weight, self.bias, True, self.momentum, self.eps)
            for i, part in enumerate(images.chunk(self.splits))
        ]
        with torch.no_grad():
            self.running_mean.copy_(mean.mean(0))
            self.running_var.copy_(var.mean(0))
            self.num_batches_tracked.add_(1)
        return torch.cat(parts)


def split_batch_norm(module, splits):
    """Turn every BatchNorm2d of a module into SplitBatchNorm2d, in place; returns how many there were."""
    found = [child for child in module.modules() if type(child) in (nn.BatchNorm2d, SplitBatchNorm2d)]
    for child in found:
        child.__class__ = SplitBatchNorm2d
        child.splits = splits
    return len(found)


@torch.no_grad()
def momentum_update(key_encoder, query_encoder, momentum):
    """key ← momentum · key + (1 − momentum) · query, over all parameters in one call; buffers stay."""
    torch._foreach_lerp_(list(key_encoder.parameters()), list(query_encoder.parameters()), 1 - momentum)


def scheduled_momentum(momentum, schedule, progress):
    """The momentum at a share `progress` of the run: as it is ("constant"), or rising to 1 along a cosine ("cosine").

    Source: Grill et al. 2020, arXiv:2006.07733: 1 - (1 - momentum) (cos(pi progress) + 1) / 2.
    """
    return momentum if schedule == "constant" else 1 - (1 - momentum) * (math.cos(math.pi * progress) + 1) / 2
