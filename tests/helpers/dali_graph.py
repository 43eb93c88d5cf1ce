"""The operators of a DALI pipeline, read from what it serialises to.

The numbers are those of fields in DALI's dali.proto; its wire format is Protocol Buffers'.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

OPERATOR, OUTPUT = 5, 7  # of a pipeline
NAME, INPUTS, OUTPUTS, ARGUMENTS = 1, 2, 3, 4  # of an operator
FLOATS, WHOLE, STRINGS, BOOLS, ELEMENTS = 3, 4, 5, 6, 7  # of an argument
OF_PYTHON = ("_origin_stack", "_module", "_display_name", "preserve_name")
"""How the names of arguments begin that say where in our code an operator stands."""


class Operator(NamedTuple):
    name: str
    device: str
    """cpu, mixed or gpu."""
    inputs: list
    """(name, device, the argument that it is or "") of each."""
    outputs: list
    arguments: dict


def operators(pipe):
    """The `Operator`s of a pipeline that need not be built, in their order."""
    return [_operator(value) for number, value in _fields(pipe.serialize()) if number == OPERATOR]


def outputs(pipe):
    """(name, device) of what a pipeline gives, in its order."""
    return [_edge(value)[:2] for number, value in _fields(pipe.serialize()) if number == OUTPUT]


def _operator(data):
    found = list(_fields(data))
    edges = lambda kind: [_edge(value) for number, value in found if number == kind]
    arguments = dict(_argument(value) for number, value in found if number == ARGUMENTS)
    kept = {name: each for name, each in arguments.items() if not name.startswith(OF_PYTHON)}
    (name,) = (value.decode() for number, value in found if number == NAME)
    return Operator(name, kept.pop("device"), edges(INPUTS), edges(OUTPUTS), kept)


def _edge(data):
    found = dict(_fields(data))
    return found[1].decode(), found[2].decode(), found.get(4, b"").decode()


def _argument(data):
    found = list(_fields(data))
    values = [_value(number, each) for number, each in found if FLOATS <= number <= ELEMENTS]
    is_vector = dict(found).get(8)
    return dict(found)[1].decode(), values if is_vector else values[0]


def _value(number, value):
    if number == FLOATS:
        return struct.unpack("<f", value)[0]
    if number == STRINGS:
        return value.decode()
    if number == ELEMENTS:
        return _argument(value)[1]
    return bool(value) if number == BOOLS else value


def _fields(data):
    """(number, value) of each field of a message."""
    at = 0
    while at < len(data):
        key, at = _whole(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _whole(data, at)
        else:
            size = {1: 8, 5: 4}.get(kind)
            if size is None:
                assert kind == 2
                size, at = _whole(data, at)
            value, at = data[at : at + size], at + size
        yield key >> 3, value


def _whole(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 128:
            return value, at
