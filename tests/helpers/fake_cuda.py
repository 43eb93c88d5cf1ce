"""A GPU without a GPU: every operator on a "cuda" tensor is checked, none computes.

Within `fake_cuda()` torch says that there are eight H100s. Tensors on the CPU are real, those on
CUDA have no values (`CudaTensor`). What would fail, race or wait on a GPU raises `Fault`:

- device: tensors, or a generator, of different devices meet.
- host waits: where this thread may not wait (`HOST.may_wait(False)`), the host asks for a value,
  or for a shape that depends on values, or copies in a way that waits.
- stream, record_stream, freed, lent: see `fake_cuda_streams`.
- thread: a thread works on a GPU that it did not set.
- kernel: a Triton kernel would be started with arguments that do not fit.
- capture: what a CUDA graph cannot hold.

A value that the host may ask for is 0.
"""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from unittest import mock

import torch
import torch._dynamo  # not within the fake: it would see substitutes in place of classes
from torch import nn

from helpers.fake_cuda_calls import REAL_GENERATOR, Calls
from helpers.fake_cuda_kernels import kernels_checked
from helpers.fake_cuda_operators import Operators
from helpers.fake_cuda_state import Device
from helpers.fake_cuda_streams import HOST, Event, Stream
from helpers.fake_cuda_tensor import CudaTensor, storage_of

GPUS = 8


class Graph:
    """In place of torch.cuda.CUDAGraph: holds what the recorded operators touch."""

    def __init__(self, state):
        self.state, self.read, self.written = state, {}, {}

    def hold(self, memory, read, written):
        for tensor in read:
            self.read[storage_of(tensor)._cdata] = (
                memory.of(tensor).ref,
                tensor.place,
                tensor.elem,
            )
        for tensor in written:
            self.written[storage_of(tensor)._cdata] = (
                memory.of(tensor).ref,
                tensor.place,
                tensor.elem,
            )

    def replay(self):
        alive = lambda held: [CudaTensor(elem, place) for _, place, elem in held.values()]
        self.state.use("graph", alive(self.read), alive(self.written))


@contextlib.contextmanager
def _recording(graph, pool=None, stream=None, capture_error_mode="global"):
    with HOST.may_wait(True):
        HOST.clock.merge(HOST.stream().clock)
    HOST.capturing = graph
    try:
        yield
    finally:
        HOST.capturing = None


@contextlib.contextmanager
def _device(device):
    before, HOST.device = HOST.device, torch.device(device).index or 0
    try:
        yield
    finally:
        HOST.device = before


def _set_device(device):
    HOST.device = device if isinstance(device, int) else (torch.device(device).index or 0)


def _generator(state):
    class Generator(REAL_GENERATOR):
        def __new__(cls, device="cpu"):
            made = super().__new__(cls, "cpu")
            if torch.device(device).type == "cuda":
                state.generators.add(made)
            return made

        def __init__(self, device="cpu"):
            super().__init__()

    return Generator


def _apply(self, fn, recurse=True):
    """`nn.Module._apply` with new parameters: torch swaps those of other tensor classes in place,
    which those cannot."""
    for module in self.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                with torch.no_grad():
                    module._parameters[name] = nn.Parameter(fn(parameter), parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = fn(buffer)
    return self


def _cuda(state):
    """{name in torch.cuda: what takes its place}."""
    nothing = lambda *_, **__: None
    properties = SimpleNamespace(
        major=9, minor=0, multi_processor_count=132, name="NVIDIA H100", total_memory=80 << 30
    )
    return {
        "_lazy_init": nothing,
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "is_bf16_supported": lambda *_, **__: True,
        "device_count": lambda: GPUS,
        "current_device": lambda: HOST.device,
        "set_device": _set_device,
        "device": _device,
        "get_device_properties": lambda *_: properties,
        "get_device_name": lambda *_: properties.name,
        "get_device_capability": lambda *_: (9, 0),
        "max_memory_allocated": lambda *_: 0,
        "mem_get_info": lambda *_: (80 << 30, 80 << 30),
        "reset_peak_memory_stats": nothing,
        "manual_seed": nothing,
        "manual_seed_all": nothing,
        "synchronize": lambda *_: HOST.sync("torch.cuda.synchronize"),
        "Stream": Stream,
        "Event": Event,
        "current_stream": HOST.stream,
        "default_stream": HOST.stream,
        "stream": HOST.on,
        "CUDAGraph": lambda *_: Graph(state),
        "graph": _recording,
        "graph_pool_handle": lambda: (0, 1),
        "is_current_stream_capturing": lambda: HOST.capturing is not None,
    }


@contextlib.contextmanager
def fake_cuda():
    """Within it there are eight GPUs that compute nothing; gives the `Device`."""
    from fastneg.data.load import producer
    from fastneg.evaluation.corruptions.tables import table

    HOST.reset()
    state, work = Device(), producer.Producer._work

    def work_there(self, generator):
        with HOST.may_wait(False), Calls(state), Operators(state):
            work(self, generator)

    with contextlib.ExitStack() as stack:
        for name, substitute in _cuda(state).items():
            stack.enter_context(mock.patch.object(torch.cuda, name, substitute))
        for target, name, substitute in (
            (torch.accelerator, "current_stream", HOST.stream),
            (torch, "Generator", _generator(state)),
            (nn.Module, "_apply", _apply),
            (
                CudaTensor,
                "record_stream",
                lambda tensor, stream: state.memory.of(tensor).recorded.add(stream),
            ),
            (producer.Producer, "_work", work_there),
        ):
            stack.enter_context(mock.patch.object(target, name, substitute))
        stack.enter_context(kernels_checked(state))
        stack.callback(setattr, torch.backends.cudnn, "benchmark", torch.backends.cudnn.benchmark)
        stack.callback(table.cache_clear)
        table.cache_clear()
        stack.enter_context(Calls(state))
        stack.enter_context(Operators(state))
        yield state
