"""A backbone with its projector, and the momentum update.

Legend: N batch, F backbone features, D feature dimension, H W pixels.
"""

from __future__ import annotations

import copy
import itertools
import math

import torch
import torch.nn.functional as F
from torch import nn

from fastneg.config.method import is_own
from fastneg.models.backbones import build_backbone
from fastneg.models.own_outputs import copied


class Encoder(nn.Module):
    """Backbone and MLP head: (N, 3, H, W) images to (N, D) features.

    The features have unit length unless told otherwise. They are float32, also under autocast, and
    float64 where weights and images are.

    The head is MoCo v2's: one hidden layer as wide as the backbone's features, no batch
    normalisation. With `hidden_dim` it is BYOL's: one of that width, normalised. `head` makes
    another one of the width of the features.
    Source: Chen et al. 2020, arXiv:2003.04297; Grill et al. 2020, arXiv:2006.07733.
    """

    def __init__(
        self,
        backbone,
        feature_dim,
        image_size=224,
        *,
        stem="auto",
        hidden_dim=None,
        head=None,
        unit_length=True,
    ):
        super().__init__()
        self.backbone, width = build_backbone(backbone, image_size, stem)
        self._own, self._image_size = is_own(backbone), image_size
        if head is None:
            norm = hidden_dim is not None
            self.projector = mlp(width, hidden_dim or width, feature_dim, norm=norm)
        else:
            self.projector = head(width)
        self.unit_length = unit_length

    @classmethod
    def of(cls, config, **options):
        """The encoder that a `PretrainConfig` asks for.

        Args:
            options: hidden_dim, head, unit_length.
        """
        sizes = config.feature_dim, config.image_size
        return cls(config.backbone, *sizes, stem=config.stem, **options)

    def key_copy(self, make):
        """A frozen copy, for the keys.

        Args:
            make: makes another encoder like this one, for an own network that cannot be copied.
        """
        twin = copied(self, make, self._image_size) if self._own else copy.deepcopy(self)
        return twin.requires_grad_(False)

    def forward(self, images):
        features = at_least_float32(self.projector(self.backbone(images)))
        return F.normalize(features, dim=1) if self.unit_length else features


def at_least_float32(values):
    """float16 and bfloat16 as float32; float32 and float64 as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def mlp(width, hidden, out, norm=False):
    """One hidden layer with ReLU, batch-normalised before it if `norm`."""
    normalised = [nn.BatchNorm1d(hidden)] if norm else []
    return nn.Sequential(
        nn.Linear(width, hidden), *normalised, nn.ReLU(inplace=True), nn.Linear(hidden, out)
    )


def normalised_mlp(widths):
    """Linear layers without bias from each width to the next, each batch-normalised, with ReLU
    between them; the last normalisation has no weights.

    Source: MoCo v3's heads, Chen et al. 2021, arXiv:2104.02057, section 4.1.
    """
    layers, last = [], len(widths) - 2
    for number, (before, after) in enumerate(itertools.pairwise(widths)):
        norm = nn.BatchNorm1d(after, affine=number < last)
        layers += [nn.Linear(before, after, bias=False), norm]
        layers += [nn.ReLU(inplace=True)] if number < last else []
    return nn.Sequential(*layers)


@torch.no_grad()
def momentum_update(key_encoder, query_encoder, momentum):
    """key ← momentum · key + (1 − momentum) · query, over all parameters in one call; buffers
    stay."""
    torch._foreach_lerp_(
        list(key_encoder.parameters()), list(query_encoder.parameters()), 1 - momentum
    )


def scheduled_momentum(momentum, schedule, progress):
    """The momentum at a share `progress` of the run: as it is ("constant"), or rising to 1 along a
    cosine ("cosine").

    Source: Grill et al. 2020, arXiv:2006.07733: 1 - (1 - momentum) (cos(pi progress) + 1) / 2.
    """
    return (
        momentum
        if schedule == "constant"
        else 1 - (1 - momentum) * (math.cos(math.pi * progress) + 1) / 2
    )


@torch.no_grad()
def embed(backbone, images, autocast=False):
    """(N, 3, H, W) images of any float dtype to (N, F) float32 features without a gradient."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=autocast):
        return backbone(images if autocast else images.float()).float()
