"""Supervised contrastive learning with non-semantic negatives.

Legend: n images of this process, N of all processes, M non-semantic negatives per image, D feature
dimension.
Source: Khosla et al. 2020, arXiv:2004.11362; the negatives of Ge et al. 2021, arXiv:2110.14189,
joined to it as written below.
"""

from __future__ import annotations

import torch
from torch import nn

from fastneg.distributed import gather_own_first
from fastneg.kernels.info_nce import info_nce
from fastneg.losses.supervised import contrastive_with_lse
from fastneg.methods.alpha import Alphas
from fastneg.methods.key_order import views_and_negatives
from fastneg.methods.output import MethodOutput, of_negatives, of_two_views
from fastneg.models.encoders import Encoder


class SupCon(nn.Module):
    """One encoder; every other view of an image's label in the global batch is a positive.

    The loss is equation 2 of the paper: the mean over a view's positives stands outside the
    logarithm. Non-semantic negatives t join the denominator of both views of their image as
    exp(alpha z·t/T), with a gradient to t, as in our SimCLR; that joining is ours. The head is
    SimCLR's.
    """

    def __init__(self, config):
        super().__init__()
        self.temperature, self.alphas = config.temperature, Alphas(config.alphas())
        self.joint = config.negatives_bn == "joint"
        self.query_encoder = Encoder.of(config)

    def forward(self, query_view, key_view, negatives=None, generator=None, labels=None):
        """Loss and statistics of one step.

        Args:
            query_view, key_view: (n, 3, H, W), as many in each process.
            negatives: (n, M, 3, H, W) non-semantic negatives, or None.
            generator: not used.
            labels: (n,) int64; None: each image is a class of its own, as each with a label below 0
                is, which is without one.
        Returns:
            `MethodOutput` without keys; the accuracies tell how often a view is nearest to the
            other view of its own image.
        """
        # one batch: its statistics are those of all views, and with --negatives_bn joint of all
        (first, second), extra = views_and_negatives(
            self.query_encoder, (query_view, key_view), negatives, self.joint
        )
        weighted = {} if extra is None else self.alphas.extra(extra)
        views = torch.stack([first, second], 1)
        everyone = None if labels is None else _apart(gather_own_first(labels))
        labels = None if labels is None else everyone[: len(labels)]
        everyone = gather_own_first(views), everyone
        options = {"temperature": self.temperature, **weighted}
        loss, lse = contrastive_with_lse(views, labels, everyone, **options)
        with torch.no_grad():
            others = everyone[0][:, 1].detach()
            options |= {"exclude_diagonal": True, "return_stats": True}
            ranks = info_nce(first, second, others, **options)
            similarities, found = of_two_views(first, second)
            stats = {
                "loss": loss.detach(),
                "acc1": ranks.acc1,
                "acc5": ranks.acc5,
                **found,
            }
            if extra is not None:
                views = first, second
                similarities["negative"], told = of_negatives(
                    views, extra, self.alphas, self.temperature, lse
                )
                stats |= told
        return MethodOutput(loss, None, stats, similarities)

    def after_step(self, keys, progress):
        """Nothing follows the optimizer's step."""


def _apart(labels):
    """(N,) labels in which each of those below 0 is another one."""
    alone = -1 - torch.arange(len(labels), device=labels.device)
    return torch.where(labels < 0, alone, labels)
