"""Checks that all kernels share: values of the wrong kind, with the name that the caller gave."""

import numbers

import torch


def check_choice(name, value, choices):
    """ValueError unless the value is one of the choices."""
    if value not in choices:
        listed = ", ".join(map(repr, choices))
        raise ValueError(f"{name} is {value!r}: one of {listed} was expected.")


def check_flags(**named):
    """ValueError unless each value is True or False: of any other, the word "no" say, it could only
    be guessed what it is to mean."""
    for name, value in named.items():
        if not isinstance(value, bool):
            raise ValueError(f"{name} is {value!r}: True or False was expected.")


def check_number(name, value):
    """ValueError unless the value is a real number; True and False are none."""
    if type(value) is float or type(value) is int:
        return  # most are, and asking the tower of numbers takes a microsecond
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ValueError(f"{name} is {value!r} ({type(value).__name__}): a number was expected.")


def check_range(name, value, least, most):
    """ValueError unless it is a number from `least` to `most`, neither NaN nor infinite."""
    check_number(name, value)
    if not least <= value <= most or abs(value) == float("inf"):
        raise ValueError(f"{name} is {value}: a number from {least} to {most} was expected.")


def check_whole(name, value, least):
    """ValueError unless it is a whole number of at least `least`."""
    if torch.compiler.is_compiling():
        return  # there sizes may be symbols
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f"{name} is {value!r}: a whole number of at least {least} was expected.")


def check_few(name, value, count):
    """ValueError unless it is a sequence of `count` numbers: a tuple, list, array or tensor."""
    try:
        fits = len(value) == count
    except TypeError:
        fits = False
    if not fits or isinstance(value, str):
        raise ValueError(f"{name} is {value!r}: {count} numbers were expected.")
    for each in value:
        if not isinstance(each, torch.Tensor):
            check_number(name, each)


def check_are_tensors(**named):
    """ValueError unless each value is a tensor, of the dense kind."""
    for name, value in named.items():
        if not isinstance(value, torch.Tensor):
            raise ValueError(f"{name} is a {type(value).__name__}: a tensor was expected.")
        if value.layout != torch.strided:
            raise ValueError(f"{name} has layout {value.layout}: a dense tensor was expected.")


def check_dim(name, tensor, dim, shape):
    """ValueError unless it is a tensor of `dim` dimensions; `shape` says in words which."""
    if not isinstance(tensor, torch.Tensor):
        raise ValueError(f"{name} is a {type(tensor).__name__}: a tensor {shape} was expected.")
    if tensor.dim() != dim:
        raise ValueError(f"{name} are {tuple(tensor.shape)}: {shape} was expected.")
