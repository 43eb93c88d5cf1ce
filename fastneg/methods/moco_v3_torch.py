"""MoCo v3 with non-semantic negatives.

Legend: n images of this process, N of all processes, M non-semantic negatives per image, D feature
dimension.
Source: Chen et al. 2021, arXiv:2104.02057, algorithm 1 and sections 4.1 and 4.3; the negatives of
Ge et al. 2021, arXiv:2110.14189, joined to it as MoCo's.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import nn

from fastneg.distributed import gather_own_first
from fastneg.kernels.info_nce import info_nce
from fastneg.methods.alpha import Alphas
from fastneg.methods.key_order import in_one_batch
from fastneg.methods.output import MethodOutput, of_negatives
from fastneg.models.encoders import (
    Encoder,
    at_least_float32,
    momentum_update,
    normalised_mlp,
    scheduled_momentum,
)
from fastneg.models.graphs import GraphedPass

PATCHES = (".patch_embed.proj", ".conv_proj")
"""How the name of a vision transformer's patch projection ends, in timm and in torchvision."""


class MoCoV3(nn.Module):
    """Queries of one view against the keys that a momentum encoder makes of the other view of all
    images in the batch, in both directions.

    With q a prediction, k⁺ the key of the other view, k the keys of the other images and t those of
    the image's non-semantic negatives, the loss is the sum over both directions of

        -2T log(exp(q·k⁺/T) / (exp(q·k⁺/T) + sum exp(q·k/T) + sum exp(alpha q·t/T)))

    Keys and negatives receive no gradient. Projector and predictor are normalised layer by layer.
    """

    def __init__(self, config):
        super().__init__()
        self.temperature, self.alphas = config.temperature, Alphas(config.alphas())
        self.momentum, self.schedule = config.key_momentum, config.momentum_schedule
        self.joint = config.negatives_bn == "joint"
        hidden, out = config.hidden_dim, config.feature_dim
        between = [hidden] * (config.projector_layers - 1)
        head = lambda width: normalised_mlp([width, *between, out])
        make = functools.partial(Encoder.of, config, head=head, unit_length=False)
        self.query_encoder = make()
        if config.freeze_patches:
            freeze_patches(self.query_encoder.backbone)
        self.predictor = normalised_mlp([out, hidden, out])
        self.key_encoder = self.query_encoder.key_copy(make)
        self.graphed = GraphedPass(self.key_encoder) if config.cuda_graphs else None

    def forward(self, query_view, key_view, negatives=None, generator=None):
        """Loss and statistics of one step.

        Args:
            query_view, key_view: (n, 3, H, W), as many in each process; each passes alone, so that
                the statistics of batch normalisation are those of one view (with --negatives_bn
                joint the negatives pass with the key view).
            negatives: (n, M, 3, H, W) non-semantic negatives, or None.
            generator: not used.
        Returns:
            `MethodOutput` without keys.
        """
        queries = [self._predict(view) for view in (query_view, key_view)]
        with torch.no_grad():
            others = [] if negatives is None else negatives.unbind(1)
            joint = others if self.joint else []
            key, *others_of_key = in_one_batch(self._key, [key_view, *joint])
            keys = [key, self._key(query_view)]
            others = others_of_key or [self._key(images) for images in others]
            extra = torch.stack(others, 1) if others else None
        weighted = {} if extra is None else self.alphas.extra(extra)
        results = [
            info_nce(
                query,
                key,
                gather_own_first(key),
                temperature=self.temperature,
                exclude_diagonal=True,
                return_stats=True,
                **weighted,
            )
            for query, key in zip(queries, keys, strict=True)
        ]
        loss = 2 * self.temperature * (results[0].loss + results[1].loss)
        with torch.no_grad():
            query, key = queries[0], keys[0]
            # A row and its neighbour are different images.
            similarities = {
                "positive": (query * key).sum(1),
                "batch": (query * key.roll(1, 0)).sum(1),
            }
            stats = {
                "loss": loss.detach(),
                "acc1": results[0].acc1,
                "acc5": results[0].acc5,
                "positive_similarity": similarities["positive"].mean(),
                "batch_similarity": similarities["batch"].mean(),
            }
            if extra is not None:
                similarities["negative"], told = of_negatives(
                    [query], extra, self.alphas, self.temperature, results[0].lse
                )
                stats |= told
        return MethodOutput(loss, None, stats, similarities)

    def _predict(self, view):
        return F.normalize(at_least_float32(self.predictor(self.query_encoder(view))), dim=1)

    def _key(self, images):
        return F.normalize((self.graphed or self.key_encoder)(images), dim=1)

    @torch.no_grad()
    def after_step(self, keys, progress):
        """Move the key encoder towards the query encoder; `progress` is the share of the run's
        steps that came before this one."""
        momentum = scheduled_momentum(self.momentum, self.schedule, progress)
        momentum_update(self.key_encoder, self.query_encoder, momentum)


def freeze_patches(backbone):
    """Let the patch projection of a vision transformer stay as it is; returns whether there is
    one."""
    # in an own network it may be a part of a part
    found = [
        module
        for name, module in backbone.named_modules()
        if isinstance(module, nn.Conv2d) and f".{name}".endswith(PATCHES)
    ]
    for module in found:
        module.requires_grad_(False)
    return bool(found)
