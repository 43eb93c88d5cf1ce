"""MoCo v2 with non-semantic negatives.

Legend: N batch of this process, B keys of a step, M non-semantic negatives per query, K queue,
D feature dimension.
Source: He et al. 2020, arXiv:1911.05722; Chen et al. 2020, arXiv:2003.04297; Ge et al. 2021,
arXiv:2110.14189.
"""

from __future__ import annotations

import functools

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from fastneg.kernels.info_nce import info_nce
from fastneg.methods.alpha import Alphas
from fastneg.methods.key_order import Permuted, Same, Shuffled, in_one_batch
from fastneg.methods.output import MethodOutput, of_negatives, sample_rows
from fastneg.models.batch_norm import batch_norms, split_batch_norm
from fastneg.models.encoders import Encoder, momentum_update, scheduled_momentum
from fastneg.models.graphs import GraphedPass
from fastneg.negatives import NEGATIVES
from fastneg.negatives.queue_entry_torch import queue_entries, with_entries


class MoCo(nn.Module):
    """Query encoder, momentum key encoder and a queue of past keys.

    The loss of query i is the cross-entropy of its positive key against the queue and its own
    non-semantic negatives t: logits q·k/T, q·queue/T and alpha·q·t/T. Keys and negatives receive no
    gradient. A step is `forward`, backward, optimizer step, then `after_step`, which moves the key
    encoder and puts the keys into the queue.
    """

    def __init__(self, config):
        super().__init__()
        self.temperature, self.alphas = config.temperature, Alphas(config.alphas())
        self.momentum, self.schedule = config.key_momentum, config.momentum_schedule
        self.query_encoder = Encoder.of(config)
        splits = config.bn_splits if config.bn == "split" else 1
        split_batch_norm(self.query_encoder, splits)
        # Nothing can leak through statistics that do not exist (vision transformers, ConvNeXt).
        self.order = config.bn if batch_norms(self.query_encoder) else "none"
        self.key_encoder = self.query_encoder.key_copy(functools.partial(Encoder.of, config))
        split_batch_norm(self.key_encoder, splits)  # of one that was made anew
        self.graphed = GraphedPass(self.key_encoder) if config.cuda_graphs else None
        self.batched, self.joint = config.key_pass == "batched", config.negatives_bn == "joint"
        self.splits, self.per_query = splits, config.negatives_per_query
        self.from_queue = [NEGATIVES[kind].from_queue for kind in config.negative_kinds()]
        if self.batched:
            groups = 1 + len(config.image_kinds()) * config.negatives_per_query
            split_batch_norm(self.key_encoder, splits * groups)
        queue = torch.randn(
            config.queue_size,
            config.feature_dim,
            generator=torch.Generator().manual_seed(config.seed),
        )
        self.register_buffer("queue", F.normalize(queue, dim=1))
        self.pointer, self.half_queue = 0, HalfQueue()

    def forward(self, query_view, key_view, negatives=None, generator=None):
        """Loss and statistics of one step.

        Args:
            query_view, key_view: (N, 3, H, W).
            negatives: (N, M, 3, H, W) non-semantic negatives, or None.
            generator: CPU torch.Generator that draws the order of the key batches, or None for the
                default one; with bn "shuffle" it must draw the same in all processes.
        Returns:
            `MethodOutput`; its `keys` (N, D) go to `after_step`.
        """
        query = self.query_encoder(query_view)
        with torch.no_grad():
            views = [key_view] if negatives is None else [key_view, *negatives.unbind(1)]
            keys, *others = self._encode_keys(views, generator)
            draw = lambda: queue_entries(self.queue, len(query), self.per_query, generator)
            extra = with_entries(self.from_queue, others, draw, self.per_query)
        weighted = {} if extra is None else self.alphas.extra(extra)
        half = half_of_autocast(self.queue.device)
        queue = self.queue if half is None else self.half_queue.of(self.queue, half)
        result = info_nce(
            query, keys, queue,
            temperature=self.temperature, return_stats=True, normalised=True, **weighted,
        )  # fmt: skip
        with torch.no_grad():
            similarities = {
                "positive": (query * keys).sum(1),
                "queue": query @ sample_rows(self.queue).t(),
            }
            stats = {
                "loss": result.loss.detach(),
                "acc1": result.acc1,
                "acc5": result.acc5,
                "positive_similarity": similarities["positive"].mean(),
                "queue_similarity": query.mean(0) @ self.queue.mean(0),
            }
            if extra is not None:
                similarities["negative"], told = of_negatives(
                    [query], extra, self.alphas, self.temperature, result.lse
                )
                stats |= told
        return MethodOutput(result.loss, keys, stats, similarities)

    def _encode_keys(self, views, generator):
        """Features (N, D) of each of several batches (N, 3, H, W).

        Keys and negatives differ in their statistics: sharing them changes the result. So they are
        groups of one pass at most, unless --negatives_bn joint asks for that.
        """
        orders = [self._order(images, generator) for images in views]
        views = [order.there(images) for order, images in zip(orders, views, strict=True)]
        encode = self.graphed or self.key_encoder
        if self.joint:
            features = in_one_batch(encode, views, self.splits)
        elif self.batched:
            features = encode(torch.cat(views)).chunk(len(views))
        else:
            features = [encode(images) for images in views]
        return [order.back(each) for order, each in zip(orders, features, strict=True)]

    def _order(self, images, generator):
        if self.order == "split":
            return Permuted(torch.randperm(len(images), generator=generator), images.device)
        if self.order == "shuffle":
            return Shuffled(
                torch.randperm(dist.get_world_size() * len(images), generator=generator),
                images.device,
            )
        return Same()

    @torch.no_grad()
    def after_step(self, keys, progress=0.0):
        """Move the key encoder towards the query encoder and enqueue the keys.

        Args:
            keys: (any number, D): the keys of all processes, in the order of the global batch.
            progress: share of the run's steps before this one, which a schedule of the momentum
                goes by.
        """
        momentum_update(
            self.key_encoder,
            self.query_encoder,
            scheduled_momentum(self.momentum, self.schedule, progress),
        )
        self.pointer = self.half_queue.enqueue(self.queue, keys, self.pointer)

    def get_extra_state(self):
        return {"pointer": self.pointer}

    def set_extra_state(self, state):
        self.pointer = int(state["pointer"])


def enqueue(queue, keys, pointer):
    """Write keys (B, D) into the queue (K, D) from row `pointer` on, wrapping around; returns the
    next pointer.

    Of more than K keys the last K stay, where they would have landed one by one.
    """
    size = len(queue)
    surplus = max(0, len(keys) - size)
    keys, pointer = keys[surplus:], (pointer + surplus) % size
    room = min(len(keys), size - pointer)
    queue[pointer : pointer + room] = keys[:room]
    queue[: len(keys) - room] = keys[room:]
    return (pointer + len(keys)) % size


class HalfQueue:
    """A copy of a queue in the dtype that the loss multiplies in, kept up to date row by row.

    Rounded there or in the loss, the numbers are the same. But the loss reads half of the
    bytes, and its kernel has twice the programs on a GPU, for it rounds nothing. The float32
    queue stays the truth, and the one in checkpoints: where anything else than `enqueue` wrote
    to it (a checkpoint, imported weights) or moved it, the next `of` makes the copy anew.
    """

    def __init__(self):
        self.rows = self.source = self.version = None

    def of(self, queue, dtype):
        """(K, D) of `dtype`, equal to queue.to(dtype)."""
        if not self._fresh(queue) or self.rows.dtype != dtype:
            self.rows = queue.detach().to(dtype)
            self._remember(queue)
        return self.rows

    def enqueue(self, queue, keys, pointer):
        """`enqueue` into the queue, and into the copy if there is one; returns the next pointer."""
        fresh = self._fresh(queue)
        after = enqueue(queue, keys, pointer)
        if fresh:
            enqueue(self.rows, keys, pointer)
            self._remember(queue)
        return after

    def _fresh(self, queue):
        return self.source is queue and self.version == queue._version

    def _remember(self, queue):
        # The version counts what is written to a tensor in place, by whomever.
        self.source, self.version = queue, queue._version


def half_of_autocast(device):
    """The dtype of matrix products on a CUDA device under autocast; None elsewhere, where a copy of
    the queue saves nothing."""
    if device.type == "cuda" and torch.is_autocast_enabled("cuda"):
        return torch.get_autocast_dtype("cuda")
    return None
