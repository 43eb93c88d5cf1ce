"""A backbone with its projector, batch normalisation that leaks nothing, and the momentum update.

Legend: N batch, F backbone features, D feature dimension, C channels, H W pixels, S splits.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from fastneg.backbones import build_backbone


class Encoder(nn.Module):
    """Backbone and MLP head: (N, 3, H, W) images to (N, D) float32 features, of unit length unless told otherwise.

    The head is MoCo v2's (one hidden layer as wide as the backbone's features, no batch normalisation), or with `hidden_dim` BYOL's (one
    of that width, normalised).
    Source: Chen et al. 2020, arXiv:2003.04297; Grill et al. 2020, arXiv:2006.07733.
    """

    def __init__(self, backbone, feature_dim, image_size=224, *, hidden_dim=None, unit_length=True):
        super().__init__()
        self.backbone, width = build_backbone(backbone, image_size)
        self.projector = mlp(width, hidden_dim or width, feature_dim, norm=hidden_dim is not None)
        self.unit_length = unit_length

    def forward(self, images):
        features = self.projector(self.backbone(images)).float()
        return F.normalize(features, dim=1) if self.unit_length else features


def mlp(width, hidden, out, norm=False):
    """One hidden layer with ReLU, batch-normalised before it if `norm`."""
    normalised = [nn.BatchNorm1d(hidden)] if norm else []
    return nn.Sequential(nn.Linear(width, hidden), *normalised, nn.ReLU(inplace=True), nn.Linear(hidden, out))


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


@torch.no_grad()
def embed(backbone, images, autocast=False):
    """(N, 3, H, W) images of any float dtype to (N, F) float32 features without a gradient."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=autocast):
        return backbone(images if autocast else images.float()).float()
