"""Operators of torch that are Python functions: opaque to torch.compile, which sees shapes only."""

import contextlib

import torch

FUNCTIONS = {}
"""{name of an operator: its function}; torch keeps none of those that are defined bare."""


def operator(name, schema, fake):
    """Register what is decorated as fastneg::`name`, for tensors on any device.

    It is defined bare: a `torch.library.custom_op` looks at every call whether an output is an
    input, which takes six times as long as the call itself.

    Args:
        name: of the operator.
        schema: its arguments and results, as `torch.library.define` takes them.
        fake: makes outputs of the right shapes and dtypes without computing them.
    """
    torch.library.define(f"fastneg::{name}", schema)
    torch.library.register_fake(f"fastneg::{name}")(fake)

    def register(function):
        torch.library.impl(f"fastneg::{name}", "default", function)
        FUNCTIONS[name] = function
        return function

    return register


def without_autocast(tensor):
    """A context in which products on the device of `tensor` are taken in the dtype of their
    inputs."""
    kind = tensor.device.type
    # Where it is off already, switching it off would take longer than a small product.
    on = torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if on else contextlib.nullcontext()
