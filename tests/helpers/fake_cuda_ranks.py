"""Several processes, one after the other in this one: what each would send is noted."""

from __future__ import annotations

import contextlib
from unittest import mock

import torch
import torch.distributed as dist
from torch import nn
from torch.testing._internal.distributed.fake_pg import FakeStore

from fastneg import distributed
from helpers.fake_cuda_streams import Fault

BUCKET_BYTES = 25 << 20


class DataParallel(nn.Module):
    """In place of `DistributedDataParallel`, whose C++ would ask the driver: gradients are sent in
    buckets, as they come, with the last part of a batch."""

    def __init__(self, module, broadcast_buffers=True, gradient_as_bucket_view=False):
        super().__init__()
        self.module, self._sends, self._dtype = module, True, None
        self._bucket, self._bytes = [], 0
        parameters = [each for each in module.parameters() if each.requires_grad]
        for parameter in parameters:
            dist.broadcast(parameter.detach(), 0)
            parameter.register_post_accumulate_grad_hook(self._ready)
        self._last = parameters[0] if parameters else None
        self._waiting, self._count = 0, len(parameters)

    def register_comm_hook(self, _, hook):
        self._dtype = torch.bfloat16

    @contextlib.contextmanager
    def no_sync(self):
        self._sends = False
        yield
        self._sends = True

    def forward(self, *args):
        self._waiting = self._count
        return self.module(*args)

    def _ready(self, parameter):
        self._waiting -= 1
        if self._sends:
            self._bucket.append(parameter.grad)
            self._bytes += parameter.grad.numel() * parameter.grad.element_size()
            if self._bytes >= BUCKET_BYTES or not self._waiting:
                self._send()

    def _send(self):
        flat = torch.cat([each.flatten() for each in self._bucket])
        dist.all_reduce(flat if self._dtype is None else flat.to(self._dtype))
        self._bucket, self._bytes = [], 0


@contextlib.contextmanager
def process(rank, size):
    """Within it this is process `rank` of `size`, where no other answers."""
    if size == 1:
        yield
        return
    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=size)
    try:
        with mock.patch.object(distributed, "DistributedDataParallel", DataParallel):
            yield
    finally:
        dist.destroy_process_group()


def refuse_different(by_rank):
    """Fault unless all processes sent the same things in the same order.

    by_rank: {rank: [(collective, shapes and types)]}.
    """
    first, *others = by_rank
    for other in others:
        for number, (one, another) in enumerate(zip(by_rank[first], by_rank[other], strict=False)):
            if one != another:
                raise Fault(
                    "collective", f"number {number} is {one} of {first} and {another} of {other}"
                )
        if len(by_rank[first]) != len(by_rank[other]):
            counts = {rank: len(sent) for rank, sent in by_rank.items()}
            raise Fault("collective", f"there are {counts}")


def refuse_lost_rows(by_rank):
    """Fault unless each process awaits what each other one sends it.

    by_rank: of each process a list of (rows that it gets from each, rows that it sends to each).
    """
    for number, each in enumerate(zip(*by_rank, strict=True)):
        for sender, (_, sent) in enumerate(each):
            for receiver, (got, _) in enumerate(each):
                if sent[receiver] != got[sender]:
                    raise Fault(
                        "collective",
                        f"in exchange {number} process {sender} sends {sent[receiver]} rows to "
                        f"{receiver}, which awaits {got[sender]}",
                    )
