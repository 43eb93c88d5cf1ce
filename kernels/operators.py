"""Operators of torch that are Python functions: opaque to torch.compile, which sees shapes only.

Those with our own gradient formulas have first derivatives only.
"""

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


def differentiable(forward, setup_context, backward):
    """A function with a gradient of its own, for autograd, torch.func and torch.compile.

    Args:
        forward: forward(*inputs) → outputs, computed without a graph.
        setup_context: setup_context(ctx, inputs, outputs) keeps what the gradient needs: inputs and
            outputs alone.
        backward: backward(ctx, *gradients of the outputs) → a gradient or None for each input.
    Returns:
        forward with a gradient: function(*inputs) → outputs.
    """

    class Plain(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *inputs):
            outputs = forward(*inputs)
            setup_context(ctx, inputs, outputs)
            return outputs

    class Transformed(torch.autograd.Function):
        # torch.func asks for this form, which takes longer to call.
        generate_vmap_rule = True

    Plain.backward = Transformed.backward = staticmethod(backward)
    Transformed.forward, Transformed.setup_context = map(staticmethod, (forward, setup_context))
    return lambda *inputs: (Transformed if transforming() else Plain).apply(*inputs)


def transforming():
    """Whether torch.func's transforms are at work here: then no tensor tells what will ask for its
    gradient, and values may be those of many calls at a time."""
    return not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active()


def first_only(name, gradients, sources):
    """The gradients of a backward pass that was computed without a graph, as they are returned.

    With create_graph=True they would count as constants, and a penalty on their length would train
    nothing, without a word. So they depend on what they were computed from, and a second backward
    pass through them raises RuntimeError.

    Args:
        name: of what was differentiated, for the message.
        gradients: tensors or None.
        sources: tensors or None, that they were computed from.
    Returns:
        tuple of the gradients.
    """
    if not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return tuple(gradients)
    return tuple(each if each is None else _once(name, each, *sources) for each in gradients)


def _keep_name(ctx, inputs, _):
    ctx.name = inputs[0]


def _refuse(ctx, *_):
    raise RuntimeError(
        f"{ctx.name} was differentiated twice: only its first derivatives are implemented."
    )


_once = differentiable(lambda name, gradient, *_: gradient.view_as(gradient), _keep_name, _refuse)
