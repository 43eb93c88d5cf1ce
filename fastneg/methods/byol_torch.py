"""BYOL with non-semantic negatives.

Legend: N batch of this process, M non-semantic negatives per image, D feature dimension.
Source: Grill et al. 2020, arXiv:2006.07733; the negatives of Ge et al. 2021, arXiv:2110.14189,
joined to it as written below.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import nn

from fastneg.kernels.info_nce import info_nce
from fastneg.methods.alpha import Alphas
from fastneg.methods.key_order import in_one_batch
from fastneg.methods.output import MethodOutput
from fastneg.models.encoders import (
    Encoder,
    at_least_float32,
    mlp,
    momentum_update,
    scheduled_momentum,
)
from fastneg.models.graphs import GraphedPass


class BYOL(nn.Module):
    """An online network that predicts, from one view, what a slowly moving target network makes of
    the other.

    With p the prediction of one view, z' the target's projection of the other and t' those of the M
    non-semantic negatives, all of unit length, the loss is the sum over both directions of

        (2 - 2 p·z') + alpha · mean over m of 2 p·t'

    The target is detached; with alpha 0 it is BYOL. The penalty has the gradient of -alpha |p -
    t'|²: the same distance, with the opposite sign. Ge et al. say that they penalise the similarity
    to the negatives with the weight alpha; this exact form (both predictions are kept away from the
    negatives, of which the mean is taken) is ours.
    """

    def __init__(self, config):
        super().__init__()
        self.alphas, self.momentum, self.schedule = (
            Alphas(config.alphas()),
            config.key_momentum,
            config.momentum_schedule,
        )
        options = {"hidden_dim": config.hidden_dim, "unit_length": False}
        make = functools.partial(Encoder.of, config, **options)
        self.query_encoder = make()
        self.predictor = mlp(config.feature_dim, config.hidden_dim, config.feature_dim, norm=True)
        self.key_encoder = self.query_encoder.key_copy(make)
        self.joint = config.negatives_bn == "joint"
        self.graphed = GraphedPass(self.key_encoder) if config.cuda_graphs else None

    def forward(self, query_view, key_view, negatives=None, generator=None):
        """Loss and statistics of one step.

        Args:
            query_view, key_view: (N, 3, H, W); each passes alone, so that the statistics of batch
                normalisation are those of one view.
            negatives: (N, M, 3, H, W) non-semantic negatives, or None.
            generator: not used.
        Returns:
            `MethodOutput` without keys; the accuracies tell how often a prediction is nearest to
            its own target among the batch's.
        """
        predicted = [self._predict(view) for view in (query_view, key_view)]
        with torch.no_grad():
            others = [] if negatives is None else negatives.unbind(1)
            joint = others if self.joint else []
            key, *others_of_key = in_one_batch(self._target, [key_view, *joint])
            targets = [key, self._target(query_view)]
            others = others_of_key or [self._target(images) for images in others]
            extra = torch.stack(others, 1) if others else None
        positive = [(p * z).sum(1) for p, z in zip(predicted, targets, strict=True)]
        loss = sum((2 - 2 * similarity).mean() for similarity in positive)
        # A row and its neighbour are different images: that all predictions are alike, a collapse,
        # shows there.
        similarities = {
            "positive": positive[0].detach(),
            "batch": (predicted[0] * targets[0].roll(1, 0)).sum(1).detach(),
        }
        stats = {"batch_similarity": similarities["batch"].mean()}
        if extra is not None:
            negative = [torch.einsum("nd,nmd->nm", p, extra) for p in predicted]
            loss = loss + sum(2 * self.alphas.scaled(similarity).mean() for similarity in negative)
            similarities["negative"] = negative[0].detach()
            stats["negative_similarity"] = similarities["negative"].mean()
        with torch.no_grad():
            ranks = info_nce(predicted[0], targets[0], temperature=1.0, return_stats=True)
            stats |= {
                "loss": loss.detach(),
                "acc1": ranks.acc1,
                "acc5": ranks.acc5,
                "positive_similarity": positive[0].mean(),
            }
        return MethodOutput(loss, None, stats, similarities)

    def _predict(self, view):
        return F.normalize(at_least_float32(self.predictor(self.query_encoder(view))), dim=1)

    def _target(self, images):
        return F.normalize((self.graphed or self.key_encoder)(images), dim=1)

    @torch.no_grad()
    def after_step(self, keys, progress):
        """Move the target network towards the online one; `progress` is the share of the run's
        steps that came before this one."""
        momentum_update(
            self.key_encoder,
            self.query_encoder,
            scheduled_momentum(self.momentum, self.schedule, progress),
        )
