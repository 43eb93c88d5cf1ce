"""Tensors that say they are on a GPU and hold no data."""

from __future__ import annotations

import torch


class CudaTensor(torch.Tensor):
    """Shape, strides, dtype and device; the values are those of a meta tensor: none.

    For PyTorch's C++ it is a meta tensor, so that autograd asks no driver. `place`, Python's
    `device`, is the GPU that it stands on.
    """

    @staticmethod
    def __new__(cls, elem, place, requires_grad=False):
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            elem.shape,
            strides=elem.stride(),
            storage_offset=elem.storage_offset(),
            dtype=elem.dtype,
            layout=elem.layout,
            device="meta",
            requires_grad=requires_grad,
        )
        made.elem, made.place = elem, place
        return made

    def __repr__(self):
        return f"CudaTensor({tuple(self.shape)}, {self.dtype}, {self.place})"

    device = property(lambda self: self.place)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)
    is_meta = property(lambda self: False)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise AssertionError(f"{func} met a fake CUDA tensor outside the fake device.")

    # What Python asks of a tensor without passing a dispatcher.
    __torch_function__ = torch._C._disabled_torch_function_impl


def storage_of(tensor):
    """What two views of the same memory share."""
    return tensor.elem.untyped_storage()


def bytes_of(tensor):
    """Bytes of memory that an operator touches that reads or writes all of a tensor: an expanded
    dimension is there once."""
    count = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        count *= size if stride else min(size, 1)
    return count * tensor.element_size()


def mapped(change, value):
    """Nested tuples, lists and dicts with `change` made of each tensor; torch's own takes ten times
    as long."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, (tuple, list)):
        return type(value)([mapped(change, each) for each in value])
    if isinstance(value, dict):
        return {name: mapped(change, each) for name, each in value.items()}
    return value


def unwrapped(value):
    return mapped(lambda tensor: tensor.elem if isinstance(tensor, CudaTensor) else tensor, value)
