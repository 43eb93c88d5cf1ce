"""Every operator that reaches a device: checked, and not computed on a fake GPU."""

from __future__ import annotations

from functools import cache

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from helpers.fake_cuda_calls import Calls
from helpers.fake_cuda_kernels import call_operator
from helpers.fake_cuda_state import download, place_of, upload
from helpers.fake_cuda_streams import HOST, Fault
from helpers.fake_cuda_tensor import CudaTensor, mapped, unwrapped

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
                return call_operator(func, args, kwargs)
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
        return self._run(func, name, place, there, args, kwargs)

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

    def _run(self, func, name, place, there, args, kwargs):
        roles = roles_of(func)
        written = roles.written(args, kwargs)
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
        if name == "alltoall_base_":
            self.state.exchanges.append((list(args[3]), list(args[4])))
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


NESTED = (tuple, list, dict)


def _leaves(value):
    """What stands in nested tuples, lists and dicts; torch's own takes ten times as long."""
    if not isinstance(value, NESTED):
        return [value]
    found = []
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, NESTED):
            found += _leaves(each)
        else:
            found.append(each)
    return found


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


@cache
def roles_of(func):
    return Roles(func)
