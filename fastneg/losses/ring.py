"""Passes blocks of rows around the processes, so that each sees all rows and none holds all of
them.

Legend: S processes, n rows of each, D feature dimension.
"""

from __future__ import annotations

import functools
import math

import torch
import torch.distributed as dist

from fastneg.kernels.checks import check_number
from fastneg.kernels.info_nce_call import stored_dtype


class Ring:
    """The processes of the default group, each of which sends to the next one.

    After S moves everything is where it came from. One process alone is a ring too, that sends
    nothing.
    """

    def __init__(self, ring):
        """ring: whether the other processes take part."""
        self.size, self.rank = 1, 0
        if ring and dist.is_available() and dist.is_initialized():
            self.size, self.rank = dist.get_world_size(), dist.get_rank()

    def move(self, tensors):
        """Send each tensor to the next process and receive that of the one before; returns
        `Moving`."""
        if self.size == 1:
            return Moving(list(tensors), [])
        after, before = (self.rank + 1) % self.size, (self.rank - 1) % self.size
        sent = [tensor.contiguous() for tensor in tensors]
        received = [torch.empty_like(tensor) for tensor in sent]
        work = dist.batch_isend_irecv(
            [
                dist.P2POp(way, tensor, other)
                for one, other in zip(sent, received, strict=True)
                for way, tensor, other in ((dist.isend, one, after), (dist.irecv, other, before))
            ]
        )
        return Moving(received, work, sent)

    def blocks(self, visiting, travelling, work):
        """Let `work` meet the rows of every process.

        Args:
            visiting: tensors that go round unchanged: they leave while `work` runs.
            travelling: tensors that `work` changes and that go with them.
            work: work(turn, visiting, travelling) → travelling; in turn 0 the rows are one's own.
        Returns:
            the travelling tensors of one's own rows, changed by all.
        """
        for turn in range(self.size):
            last = turn == self.size - 1
            ahead = None if last else self.move(visiting)
            travelling = self.move(work(turn, visiting, travelling)).wait()
            visiting = visiting if last else ahead.wait()
        return travelling


class Moving:
    """Tensors on their way."""

    def __init__(self, received, work, sent=()):
        self.received, self.work = received, work
        self.sent = sent  # kept until they are gone

    def wait(self):
        """The tensors received."""
        for each in self.work:
            each.wait()
        return self.received


def number_in(name, value, dtype, device):
    """A number or a 0-d tensor as a 0-d tensor of this dtype there, made without waiting for it.

    Raises:
        ValueError: it is neither, or on another device, or a float that is not finite.
    """
    if not isinstance(value, torch.Tensor):
        check_number(name, value)
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value}: a finite number was expected.")
        return torch.full((), float(value), dtype=dtype, device=device)
    unreal = value.dtype == torch.bool or value.is_complex()
    if value.dim() != 0 or value.device != device or unreal:
        raise ValueError(
            f"{name} is {tuple(value.shape)} {value.dtype} on {value.device}: a 0-d tensor of a "
            f"real number on {device}, or a float, was expected."
        )
    return value.to(dtype)


def in_operand(features, operand):
    """Features rounded as their products take them: so they travel."""
    return features.to(stored_dtype(operand))


def in_full_precision(function):
    """A function of tensors and others, run as if autocast were off: its products are taken in
    float32 at least."""

    @functools.wraps(function)
    def off(*inputs):
        device = next(each.device for each in inputs if isinstance(each, torch.Tensor))
        with torch.autocast(device.type, enabled=False):
            return function(*inputs)

    return off
