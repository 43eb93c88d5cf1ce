"""Python's functions of tensors, as far as they would ask a driver."""

from __future__ import annotations

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from helpers.fake_cuda_autocast import Autocast
from helpers.fake_cuda_state import download, place_of, upload
from helpers.fake_cuda_streams import Fault
from helpers.fake_cuda_tensor import CudaTensor

REAL_GENERATOR = torch.Generator


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
