"""A plain PyTorch training step with non-semantic negatives, as in the published MoCo code: the
baseline of `fastneg bench step`.

float32, NCHW, one network pass for each negative, einsum + cat + cross-entropy + top-k over a
matrix of all logits, a (D, K) queue that is cloned each step, a momentum update tensor by tensor
into new memory, `loss.item()` each step. Shuffled batch normalisation does nothing on one GPU, so
there is none.

Legend: N batch, K queue, D feature dimension, M negatives per query.
Source: He et al. 2020, arXiv:1911.05722; Ge et al. 2021, arXiv:2110.14189 (written from the papers'
descriptions).
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn

from fastneg.kernels.info_nce import InfoNCEOutput
from fastneg.models.encoders import Encoder


class PlainMoCo:
    """Built from a PretrainConfig; `step` trains on one batch.

    Raises:
        ValueError: the batch does not divide the queue, which the published enqueue needs.
    """

    def __init__(self, config, device="cpu"):
        if config.queue_size % config.batch_size:
            raise ValueError(
                f"queue_size is {config.queue_size}: the published enqueue needs a multiple of "
                f"batch_size {config.batch_size}."
            )
        self.config, self.pointer = config, 0
        self.query_encoder = Encoder.of(config).to(device)
        self.key_encoder = copy.deepcopy(self.query_encoder).requires_grad_(False)
        self.queue = F.normalize(
            torch.randn(config.feature_dim, config.queue_size, device=device), dim=0
        )
        self.optimizer = torch.optim.SGD(
            self.query_encoder.parameters(),
            config.lr,
            momentum=config.sgd_momentum,
            weight_decay=config.weight_decay,
            foreach=False,
        )

    def train(self, mode=True):
        nn.ModuleList([self.query_encoder, self.key_encoder]).train(mode)
        return self

    def step(self, query_view, key_view, negatives=None):
        """One step on query_view, key_view (N, 3, H, W) and negatives (N, M, 3, H, W) or None;
        returns (loss, top-1, top-5) as floats."""
        query = self.query_encoder(query_view)
        with torch.no_grad():
            reallocating_update(self.key_encoder, self.query_encoder, self.config.key_momentum)
            keys = self.key_encoder(key_view)
            private = (
                []
                if negatives is None
                else [
                    self.key_encoder(negatives[:, m].contiguous())
                    for m in range(negatives.shape[1])
                ]
            )
        extras = torch.stack(private, 1) if private else None
        logits = all_logits(
            query,
            keys,
            self.queue.clone().detach().t(),
            self.config.temperature,
            extras,
            self.config.alpha,
        )
        loss = F.cross_entropy(
            logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device)
        )
        top = logits.topk(5, 1).indices
        top1, top5 = ((top[:, :count] == 0).any(1).float().mean().item() * 100 for count in (1, 5))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.queue[:, self.pointer : self.pointer + len(keys)] = keys.t()
        self.pointer = (self.pointer + len(keys)) % self.queue.shape[1]
        return loss.item(), top1, top5


def all_logits(query, positive, queue, temperature, extras=None, extra_scale=1.0):
    """(N, 1 + K + M) logits of positive, queue (K, D) and extras (N, M, D), in one matrix."""
    logits = [
        torch.einsum("nd,nd->n", query, positive)[:, None],
        torch.einsum("nd,kd->nk", query, queue),
    ]
    if extras is not None:
        logits.append(extra_scale * torch.einsum("nd,nmd->nm", query, extras))
    return torch.cat(logits, 1) / temperature


def eager_info_nce(
    query,
    positive,
    negatives,
    *,
    temperature,
    extra_negatives=None,
    extra_scale=1.0,
    return_stats=True,
    normalised=False,
):
    """The calls that MoCo makes of `info_nce`, in eager PyTorch over the matrix of all logits; that
    rows have unit length is of no use to it."""
    logits = all_logits(query, positive, negatives, temperature, extra_negatives, extra_scale)
    rows = F.cross_entropy(
        logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device), reduction="none"
    )
    top = logits.detach().topk(5, 1).indices
    acc1, acc5 = ((top[:, :count] == 0).any(1).float().mean() for count in (1, 5))
    rank = (logits.detach()[:, 1:] > logits.detach()[:, :1]).sum(1)
    lse = logits.detach().logsumexp(1)
    return InfoNCEOutput(rows.mean(), rank, acc1, acc5, lse, logits.detach()[:, 0])


def reallocating_update(key_encoder, query_encoder, momentum):
    """The momentum update, tensor by tensor into new memory."""
    for key, own in zip(key_encoder.parameters(), query_encoder.parameters(), strict=True):
        key.data = key.data * momentum + own.data * (1.0 - momentum)
