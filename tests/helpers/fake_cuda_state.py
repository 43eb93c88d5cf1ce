"""The state of the fake GPU, and copies between it and the host."""

from __future__ import annotations

import contextlib
import threading

import torch
from torch.utils._python_dispatch import _disable_current_modes

from helpers.fake_cuda_streams import HOST, Fault, Memory
from helpers.fake_cuda_tensor import CudaTensor, bytes_of


class Device:
    """The state of the fake: memory, generators, pinned tensors, what was counted."""

    def __init__(self):
        self.memory, self.generators, self.pinned = Memory(), set(), set()
        self.kept, self.operators = [], None
        self.collectives, self.exchanges = [], []

    def pin(self, tensor):
        self.pinned.add(tensor.untyped_storage()._cdata)
        self.kept.append(tensor)  # so that the number names this memory alone
        return tensor

    def is_pinned(self, tensor):
        return tensor.untyped_storage()._cdata in self.pinned

    def count(self, name, read, written):
        if self.operators is not None:
            moved = sum(map(bytes_of, read)) + sum(map(bytes_of, written))
            self.operators.append((name, moved))

    @contextlib.contextmanager
    def counted(self):
        """Within it operators are listed: (name, bytes read and written)."""
        self.operators = found = []
        yield found
        self.operators = None

    def use(self, name, read, written):
        place = next((tensor.place for tensor in (*read, *written)), None)
        here = threading.current_thread()
        if place is not None and here is not threading.main_thread() and place.index != HOST.device:
            raise Fault("thread", f"{here.name} works on {place}, its device is cuda:{HOST.device}")
        self.count(name, read, written)
        if HOST.capturing is not None:
            HOST.capturing.hold(self.memory, read, written)
        else:
            self.memory.use(read, written)


def place_of(device):
    """The GPU that "cuda", with or without a number, names here; None for another device."""
    device = torch.device(device) if device is not None else None
    if device is None or device.type not in ("cuda", "meta"):
        return None
    index = HOST.device if device.index is None or device.type == "meta" else device.index
    return torch.device("cuda", index)


def upload(state, tensor, place, non_blocking=False, dtype=None, memory_format=None):
    """A copy of a tensor of the CPU on a GPU."""
    if tensor.numel() and not (state.is_pinned(tensor) and non_blocking):
        how = "pageable" if not state.is_pinned(tensor) else "without non_blocking"
        HOST.sync(f"{tuple(tensor.shape)} {tensor.dtype} is copied to {place}, {how}")
    if HOST.capturing is not None:
        raise Fault("capture", "a copy from the host within the recording of a CUDA graph")
    options = {"dtype": dtype, "memory_format": memory_format or torch.preserve_format}
    with _disable_current_modes():
        made = CudaTensor(torch.empty_like(tensor.detach(), device="meta", **options), place)
    state.use("copy from the host", [], [made])
    return made


def download(state, tensor, dtype=None):
    """A copy on the CPU: zeros."""
    HOST.sync(f"{tensor} is copied to the host")
    state.use("copy to the host", [tensor], [])
    return torch.zeros(tensor.shape, dtype=dtype or tensor.dtype)
