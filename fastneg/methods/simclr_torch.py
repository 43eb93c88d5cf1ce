"""SimCLR with non-semantic negatives.

Legend: n images of this process, N of all processes, M non-semantic negatives per image, D feature
dimension.
Source: Chen et al. 2020, arXiv:2002.05709; the negatives of Ge et al. 2021, arXiv:2110.14189,
joined to it as written below.
"""

from __future__ import annotations

import torch
from torch import nn

from fastneg.distributed import gather_own_first
from fastneg.losses import nt_xent
from fastneg.methods.alpha import Alphas
from fastneg.methods.key_order import views_and_negatives
from fastneg.methods.output import MethodOutput, of_negatives, of_two_views
from fastneg.models.encoders import Encoder


class SimCLR(nn.Module):
    """One encoder; the other images of the global batch are the negatives (NT-Xent).

    View z of an image, positive z⁺ (its other view) and the 2N - 2 views v of other images make the
    loss -log(exp(z·z⁺/T) / (exp(z·z⁺/T) + sum exp(z·v/T))), averaged over all 2N views.
    Non-semantic negatives t join the sum of both views of their image as exp(alpha z·t/T): as in
    MoCo, but with a gradient to t too, for here nothing is detached. That joining is ours: the
    paper gives none for SimCLR. The head is the formula of the paper, without the batch
    normalisation of its code.
    """

    def __init__(self, config):
        super().__init__()
        self.temperature, self.alphas = config.temperature, Alphas(config.alphas())
        self.joint = config.negatives_bn == "joint"
        self.query_encoder = Encoder.of(config)

    def forward(self, query_view, key_view, negatives=None, generator=None):
        """Loss and statistics of one step.

        Args:
            query_view, key_view: (n, 3, H, W), as many in each process.
            negatives: (n, M, 3, H, W) non-semantic negatives, or None.
            generator: not used.
        Returns:
            `MethodOutput` without keys.
        """
        # one batch: its statistics are those of all views, and with --negatives_bn joint of all
        views = query_view, key_view
        (first, second), extra = views_and_negatives(
            self.query_encoder, views, negatives, self.joint
        )
        weighted = {} if extra is None else self.alphas.extra(extra)
        everyone = gather_own_first(first), gather_own_first(second)
        result = nt_xent(
            first, second, everyone, temperature=self.temperature, return_stats=True, **weighted
        )
        with torch.no_grad():
            similarities, found = of_two_views(first, second)
            stats = {
                "loss": result.loss.detach(),
                "acc1": result.acc1,
                "acc5": result.acc5,
                **found,
            }
            if extra is not None:
                views = first, second
                similarities["negative"], told = of_negatives(
                    views, extra, self.alphas, self.temperature, result.lse
                )
                stats |= told
        return MethodOutput(result.loss, None, stats, similarities)

    def after_step(self, keys, progress):
        """Nothing follows the optimizer's step."""
