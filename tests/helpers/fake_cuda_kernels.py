"""Triton kernels under the fake GPU: their launches are checked, their outputs are those of the
implementation that would start them."""

from __future__ import annotations

import contextlib
from unittest import mock

import torch
from torch.utils._pytree import tree_leaves

from fastneg.kernels.operators import FUNCTIONS
from helpers.fake_cuda_streams import Fault
from helpers.fake_cuda_tensor import CudaTensor, unwrapped


def call_operator(func, args, kwargs):
    """The outputs of the operator's own code, and that its registered shapes say the same."""
    name = func.overloadpacket.__name__
    found = FUNCTIONS[name](*args, **kwargs)
    told = func(*unwrapped(args), **unwrapped(kwargs))
    for one, other in zip(tree_leaves(found), tree_leaves(told), strict=True):
        if not isinstance(one, torch.Tensor):
            continue
        if not isinstance(one, CudaTensor):
            raise Fault("kernel", f"{name} gives a tensor on the CPU")
        of = lambda each: (tuple(each.shape), each.dtype, each.stride() if each.numel() else ())
        if of(one) != of(other):
            raise Fault("kernel", f"{name} gives {of(one)}, compiled code would expect {of(other)}")
    return found


def check_launch(state, kernel, grid, args, kwargs):
    """What Triton and the hardware ask of a launch."""
    from fastneg.kernels.launch import POINTER_TYPES

    name, tensors = kernel.fn.__name__, []
    if not grid or not all(isinstance(side, int) and side >= 1 for side in grid):
        raise Fault("kernel", f"{name} is started over a grid of {grid}")
    if any(side > limit for side, limit in zip(grid, (2**31 - 1, 65535, 65535), strict=False)):
        raise Fault("kernel", f"{name} is started over a grid of {grid}: too large")
    known = set(kernel.arg_names) | {"num_warps", "num_stages", "num_ctas", "maxnreg"}
    if unknown := set(kwargs) - known:
        raise Fault("kernel", f"{name} takes no {', '.join(sorted(unknown))}")
    given = dict(zip(kernel.arg_names, args, strict=False)) | kwargs
    if missing := set(kernel.arg_names) - set(given):
        raise Fault("kernel", f"{name} is started without {', '.join(sorted(missing))}")
    for key, value in given.items():
        if not isinstance(value, torch.Tensor):
            continue
        if not isinstance(value, CudaTensor):
            raise Fault("kernel", f"{name} is given {key} on the CPU")
        if value.dtype not in POINTER_TYPES and value.dtype is not torch.bool:
            raise Fault("kernel", f"{name} is given {key} of {value.dtype}")
        tensors.append(value)
    if len({tensor.place for tensor in tensors}) != 1:
        raise Fault("kernel", f"{name} is given tensors of several devices")
    state.use(name, tensors, [])


@contextlib.contextmanager
def kernels_checked(state):
    """Within it `kernel[grid](…)` checks its arguments and starts nothing."""
    import triton
    from triton.runtime.interpreter import InterpretedFunction

    def getitem(kernel, grid):
        return lambda *args, **kwargs: check_launch(state, kernel, grid, args, kwargs)

    with contextlib.ExitStack() as stack:
        for kind in (triton.runtime.jit.KernelInterface, triton.JITFunction, InterpretedFunction):
            if "__getitem__" in vars(kind):
                stack.enter_context(mock.patch.object(kind, "__getitem__", getitem))
        yield
