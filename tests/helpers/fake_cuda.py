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
import threading
from functools import lru_cache
from types import SimpleNamespace
from unittest import mock

import torch
import torch._dynamo  # not within the fake: it would see substitutes in place of classes
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map_only

from helpers.fake_cuda_autocast import Autocast
from helpers.fake_cuda_kernels import call_custom_op, kernels_checked
from helpers.fake_cuda_streams import HOST, Event, Fault, Memory, Stream
from helpers.fake_cuda_tensor import CudaTensor, bytes_of, mapped, storage_of, unwrapped

GPUS = 8
REAL_GENERATOR = torch.Generator
ASKS = {
    "_local_scalar_dense": "a value is read",
    "is_nonzero": "a condition is read",
    "equal": "two tensors are compared",
    "nonzero": "positions are counted",
    "masked_select": "a mask is counted",
    "_unique2": "values are counted",
    "unique_dim": "values are counted",
    "unique_consecutive": "values are counted",
    "bincount": "values are counted",
    "repeat_interleave": "repeats are counted",
    "_linalg_check_errors": "whether a matrix was singular is read",
}
"""Operators that wait for the device, by what they wait for."""
NO_KERNEL = {
    "_unsafe_view",
    "lift_fresh",
    "detach",
    "alias",
    "is_pinned",
    "_has_same_storage_numel",
}


class Device:
    """The state of the fake: memory, generators, pinned tensors, what was counted."""

    def __init__(self):
        self.memory, self.generators, self.pinned = Memory(), set(), set()
        self.kept, self.collectives, self.operators = [], [], None

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
        if place is not None and threading.current_thread() is not threading.main_thread():
            if place.index != HOST.device:
                raise Fault(
                    "thread",
                    f"{threading.current_thread().name} works on {place}, its own device is "
                    f"cuda:{HOST.device}",
                )
        self.count(name, read, written)
        if HOST.capturing is not None:
            HOST.capturing.hold(self.memory, read, written)
        else:
            self.memory.use(read, written)


# Copies between host and device


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


class Calls(TorchFunctionMode):
    """Python's functions of tensors that would ask the driver."""

    def __init__(self, state):
        super().__init__()
        self.state, self.autocast = state, Autocast()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        handler = HANDLERS.get(func)
        if handler is not None:
            done = handler(self.state, *args, **kwargs)
            if done is not NotImplemented:
                return done
        if isinstance(generator := kwargs.get("generator"), REAL_GENERATOR):
            return self._draw(func, args, kwargs, generator in self.state.generators)
        args, kwargs = self.autocast(func, args, kwargs)
        return func(*args, **kwargs)

    def _draw(self, func, args, kwargs, of_cuda):
        if of_cuda:
            kwargs = {**kwargs, "generator": None}
        drawn = func(*args, **kwargs)
        if isinstance(drawn, CudaTensor) != of_cuda:
            device = "CUDA" if of_cuda else "the CPU"
            raise Fault("device", f"{func} draws {drawn} with a generator of {device}")
        return drawn


def _to(state, tensor, *args, **kwargs):
    target, dtype, rest = kwargs.pop("device", None), kwargs.pop("dtype", None), dict(kwargs)
    args = list(args)
    for value in args:
        if isinstance(value, torch.Tensor):
            target, dtype = value.device, value.dtype
        elif isinstance(value, torch.dtype):
            dtype = value
        elif isinstance(value, bool):
            rest["non_blocking"] = value
        elif value is not None:
            target = value
    place, here = place_of(target), isinstance(tensor, CudaTensor)
    if target is None or (place is None and not here):
        return NotImplemented
    non_blocking = rest.pop("non_blocking", False)
    if place is None:
        return download(state, tensor, dtype)
    if not here:
        rest.pop("copy", None)
        return upload(state, tensor, place, non_blocking, dtype, rest.get("memory_format"))
    if place != tensor.place:
        raise Fault("device", f"{tensor} is copied to {place}")
    return (
        tensor
        if dtype is None and not rest
        else torch.Tensor.to(tensor, dtype or tensor.dtype, **rest)
    )


def _pin(state, tensor, *_):
    if isinstance(tensor, CudaTensor):
        raise Fault("device", f"{tensor} cannot be pinned")
    if threading.current_thread() is not threading.main_thread() and HOST.device == 0:
        state.unset_pins = getattr(state, "unset_pins", 0) + 1
    return tensor if state.is_pinned(tensor) else state.pin(tensor.clone())


def _tensor(state, data, **kwargs):
    place = place_of(kwargs.get("device"))
    if place is None:
        return NotImplemented
    made = torch.tensor(data, **{**kwargs, "device": "cpu"})
    return upload(state, made, place)


def _on_cuda(handler):
    """A handler for tensors on CUDA alone."""
    return lambda state, tensor, *args, **kwargs: (
        handler(state, tensor, *args, **kwargs)
        if isinstance(tensor, CudaTensor)
        else NotImplemented
    )


def _record(state, tensor, stream):
    state.memory.of(tensor).recorded.add(stream)


HANDLERS = {
    torch.Tensor.to: _to,
    torch.Tensor.cuda: lambda state, tensor, device="cuda", non_blocking=False: _to(
        state, tensor, device, non_blocking=non_blocking
    ),
    torch.Tensor.cpu: _on_cuda(lambda state, tensor: download(state, tensor)),
    torch.Tensor.tolist: _on_cuda(lambda state, tensor: download(state, tensor).tolist()),
    torch.Tensor.numpy: _on_cuda(
        lambda state, tensor: (_ for _ in ()).throw(Fault("device", f"{tensor} has no numpy array"))
    ),
    torch.Tensor.pin_memory: _pin,
    torch.Tensor.is_pinned: lambda state, tensor: state.is_pinned(tensor),
    torch.Tensor.__deepcopy__: _on_cuda(
        lambda state, tensor, memo: memo.setdefault(id(tensor), _copied(tensor))
    ),
    torch.tensor: _tensor,
    torch.as_tensor: _tensor,
}


def _copied(tensor):
    made = tensor.detach().clone()
    return nn.Parameter(made, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else made


# Operators


class Operators(TorchDispatchMode):
    """Every operator that reaches a device."""

    def __init__(self, state):
        super().__init__()
        self.state = state

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func.namespace == "c10d":
            return self._collective(func, args, kwargs)
        leaves = _leaves((args, kwargs))
        there = [leaf for leaf in leaves if isinstance(leaf, CudaTensor)]
        place = there[0].place if there else place_of(kwargs.get("device"))
        if place is None:
            return self._on_host(func, args, kwargs)
        name = func.overloadpacket.__name__
        self._refuse_mixtures(name, place, leaves, kwargs)
        if func.namespace == "fastneg":
            with self, Calls(self.state):
                return call_custom_op(func, args, kwargs)
        if name in ("copy_", "_to_copy"):
            done = self._copy(func, name, args, kwargs)
            if done is not NotImplemented:
                return done
        if what := self._asks(name, args):
            HOST.sync(f"{what} ({name} of {there})")
            if name == "_local_scalar_dense":
                return torch.zeros((), dtype=there[0].dtype).item()
            if name in ("equal", "is_nonzero"):
                return name == "equal"
        if name == "_linalg_check_errors":
            return None
        return self._run(func, name, place, args, kwargs)

    def _on_host(self, func, args, kwargs):
        pinned = kwargs.pop("pin_memory", None)
        made = func(*args, **kwargs)
        return self.state.pin(made) if pinned else made

    def _refuse_mixtures(self, name, place, leaves, kwargs):
        for leaf in leaves:
            if not isinstance(leaf, torch.Tensor) or name in ("copy_", "_to_copy"):
                continue
            if isinstance(leaf, CudaTensor):
                if leaf.place != place:
                    raise Fault("device", f"{name} of tensors on {place} and {leaf.place}")
            elif leaf.dim() and name in ("index", "index_put_", "index_put", "_index_put_impl_"):
                HOST.sync(f"{name} with positions {tuple(leaf.shape)} on the CPU copies them")
            elif leaf.dim() and not name.endswith("_like") and not name.startswith("new_"):
                raise Fault("device", f"{name} of tensors on {place} and the CPU")

    def _copy(self, func, name, args, kwargs):
        if name == "_to_copy":
            source, target = args[0], kwargs.get("device")
            if isinstance(source, CudaTensor):
                if target is None or place_of(target) == source.place:
                    return NotImplemented
                return download(self.state, source, kwargs.get("dtype"))
            options = {key: kwargs.get(key) for key in ("dtype", "memory_format")}
            return upload(
                self.state, source, place_of(target), kwargs.get("non_blocking", False), **options
            )
        into, source = args[:2]
        waits = not (args[2] if len(args) > 2 else kwargs.get("non_blocking", False))
        if isinstance(into, CudaTensor) and isinstance(source, CudaTensor):
            return NotImplemented
        host = source if isinstance(into, CudaTensor) else into
        if waits or not self.state.is_pinned(host):
            HOST.sync(f"copy_ between {into} and {source}, {'blocking' if waits else 'pageable'}")
        if isinstance(into, CudaTensor):
            self.state.use("copy from the host", [], [into])
        else:
            into.zero_()
            self.state.use("copy to the host", [source], [])
        return into

    def _asks(self, name, args):
        if name in ASKS:
            return ASKS[name]
        if name in ("index", "index_put_", "index_put", "_index_put_impl_"):
            masks = [each for each in args[1] if each is not None]
            if any(each.dtype in (torch.bool, torch.uint8) for each in masks):
                return "a mask is counted"
        return None

    def _run(self, func, name, place, args, kwargs):
        roles = roles_of(func)
        written = roles.written(args, kwargs)
        leaves = _leaves((args, kwargs))
        there = [leaf for leaf in leaves if isinstance(leaf, CudaTensor)]
        if roles.in_place:
            self.state.use(name, [leaf for leaf in there if not _among(leaf, written)], written)
            return roles.returned(args, kwargs)
        out = self._shaped(func, roles, place, args, kwargs)
        made = [each for each in _leaves(out) if isinstance(each, CudaTensor)]
        if roles.view or name in NO_KERNEL or name.startswith(("empty", "new_empty")):
            for each in made:
                self.state.memory.of(each)
            return out
        made = [each for each in made if not _among(each, there)]
        read = [leaf for leaf in there if not _among(leaf, written)]
        self.state.use(name, read, [*written, *made])
        return out

    def _shaped(self, func, roles, place, args, kwargs):
        """The outputs of an operator, from the meta device; shapes that were asked for before are
        remembered."""
        options = {key: value for key, value in kwargs.items() if key != "pin_memory"}
        if options.get("device") is not None:
            options["device"] = torch.device("meta")
        key = None if roles.view else _key((func, args, options))
        if key is not None and key in SHAPES:
            return _made(SHAPES[key], place)
        out = func(*unwrapped(args), **unwrapped(options))
        inputs = {
            id(leaf.elem): leaf for leaf in _leaves((args, kwargs)) if isinstance(leaf, CudaTensor)
        }
        if key is not None and not any(id(each) in inputs for each in _leaves(out)):
            SHAPES[key] = _noted(out)
        wrap = lambda each: inputs[id(each)] if id(each) in inputs else CudaTensor(each, place)
        return mapped(wrap, out)

    def _collective(self, func, args, kwargs):
        tensors = [leaf for leaf in tree_leaves(args) if isinstance(leaf, torch.Tensor)]
        name = func.overloadpacket.__name__
        shapes = tuple((tuple(each.shape), str(each.dtype)) for each in tensors)
        self.state.collectives.append((name, shapes))
        there = [each for each in tensors if isinstance(each, CudaTensor)]
        if not there:
            return func(*args, **kwargs)
        if len(there) < len(tensors):
            raise Fault("device", f"{name} of tensors on the CPU and on CUDA")
        for each in there:
            if not each.elem.is_contiguous() and name != "broadcast_":
                raise Fault("device", f"{name} of {each}, which is not contiguous")
        self.state.use(name, there, there)
        stand_in = lambda each: torch.zeros(each.shape, dtype=each.dtype)
        found = func(*tree_map_only(CudaTensor, stand_in, args), **kwargs)
        works = [each for each in tree_leaves(found) if not isinstance(each, torch.Tensor)]
        first = args[0]
        if isinstance(found, (tuple, list)):
            return (first, works[-1])
        return works[-1]


SHAPES = {}
"""{operator and its arguments without values: its outputs likewise}."""


def _leaves(value):
    """What stands in nested tuples, lists and dicts; torch's own takes ten times as long."""
    if isinstance(value, (tuple, list)):
        return [leaf for each in value for leaf in _leaves(each)]
    if isinstance(value, dict):
        return [leaf for each in value.values() for leaf in _leaves(each)]
    return [value]


def _among(tensor, tensors):
    return any(tensor is each for each in tensors)


def _key(value):
    """A hashable stand-in for an argument, without values of tensors; None where there is none."""
    if isinstance(value, torch.Tensor):
        return (value.shape, value.stride(), value.dtype, type(value) is CudaTensor)
    if isinstance(value, (tuple, list)):
        return (type(value), *map(_key, value))
    if isinstance(value, dict):
        return tuple((name, _key(each)) for name, each in value.items())
    return (type(value), value)


def _noted(out):
    if isinstance(out, torch.Tensor):
        return (out.shape, out.stride(), out.dtype)
    return type(out)(map(_noted, out)) if isinstance(out, (tuple, list)) else [out]


def _made(noted, place):
    if isinstance(noted, tuple) and len(noted) == 3 and isinstance(noted[2], torch.dtype):
        shape, stride, dtype = noted
        return CudaTensor(torch.empty_strided(shape, stride, dtype=dtype, device="meta"), place)
    if isinstance(noted, list) and len(noted) == 1 and not isinstance(noted[0], (tuple, list)):
        return noted[0]
    return type(noted)(_made(each, place) for each in noted)


class Roles:
    """What an operator does with its arguments, by its schema."""

    def __init__(self, func):
        schema = func._schema
        writes = lambda each: each.alias_info is not None and each.alias_info.is_write
        self._written = [
            (number, each.name) for number, each in enumerate(schema.arguments) if writes(each)
        ]
        self.in_place = bool(self._written) and all(map(writes, schema.returns))
        self._returns = len(schema.returns)
        self.view = not self._written and any(
            each.alias_info is not None and not each.alias_info.is_write for each in schema.returns
        )

    def _values(self, args, kwargs):
        return [
            args[number] if number < len(args) else kwargs.get(name)
            for number, name in self._written
        ]

    def written(self, args, kwargs):
        """The tensors that it writes."""
        values = _leaves(self._values(args, kwargs))
        return [each for each in values if isinstance(each, CudaTensor)]

    def returned(self, args, kwargs):
        """What an operator that writes its arguments alone gives back."""
        values = self._values(args, kwargs)
        if not self._returns:
            return None
        return values[0] if self._returns == 1 else tuple(values[: self._returns])


@lru_cache(maxsize=None)
def roles_of(func):
    return Roles(func)


# What torch.cuda says


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
            (torch, "Generator", _generator(state)),
            (nn.Module, "_apply", _apply),
            (CudaTensor, "record_stream", lambda tensor, stream: _record(state, tensor, stream)),
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
