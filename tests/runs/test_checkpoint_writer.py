"""Checkpoints in the background: the training waits for the copy, and every error reaches it."""

import threading
import time
from collections import OrderedDict

import pytest
import torch
from torch import nn

from fastneg.errors import CheckpointError
from fastneg.methods import METHODS
from fastneg.recipes.presets import tiny_cpu
from fastneg.runs import checkpoint
from fastneg.runs.checkpoint_writer import CheckpointWriter


@pytest.fixture
def writer():
    made = CheckpointWriter()
    yield made
    made.close()


@pytest.fixture
def held():
    """(a write that waits, what it was given, the event that lets it go on)."""
    given, go_on = [], threading.Event()

    def write(state):
        assert go_on.wait(60)
        given.append(state)

    yield write, given, go_on
    go_on.set()


def trained_state():
    """What a checkpoint holds, after a step, with every kind of memory that a state has."""
    config = tiny_cpu().replace(image_size=32, eval_resize=32, queue_size=24, feature_dim=16)
    method = METHODS["moco"](config).to(memory_format=torch.channels_last)
    sgd = torch.optim.SGD(method.query_encoder.parameters(), 0.1, momentum=0.9)
    method(*(torch.randn(4, 3, 32, 32) for _ in range(2))).loss.backward()
    sgd.step()
    tied = nn.Linear(3, 3)
    twice = nn.Sequential(tied, tied)
    wide = torch.arange(12.0).view(3, 4)
    odd = {"part": wide[:, 1:3], "turned": wide.t(), "same": [wide, (wide,)], "none": None}
    odd |= {"repeated": torch.ones(1).expand(5), "number": torch.tensor(3), "of none": wide[:0]}
    return {
        "step": 7,
        "method": method.state_dict(),
        "optimizer": sgd.state_dict(),
        "tied": twice.state_dict(),
        "odd": odd,
        "config": {"lr": 0.1, "names": ["a", "b"]},
    }


def alike(one, other):
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other) and one.dtype == other.dtype
    elif isinstance(one, dict):
        assert type(one) is type(other) and list(one) == list(other)
        assert getattr(one, "_metadata", None) == getattr(other, "_metadata", None)
        [alike(one[name], other[name]) for name in one]
    elif isinstance(one, (list, tuple)):
        assert type(one) is type(other) and len(one) == len(other)
        [alike(each, its) for each, its in zip(one, other, strict=True)]
    else:
        assert one == other


def test_the_file_is_that_of_a_write_in_place_byte_for_byte(tmp_path, writer):
    """Metadata of modules, tied weights and channels_last weights included."""
    state = trained_state()
    odd = state.pop("odd")
    checkpoint.save(tmp_path / "plain", 7, state, keep=1)
    writer.begin(state, lambda copy: checkpoint.save(tmp_path / "later", 7, copy, keep=1))
    writer.wait()
    (one,), (other,) = (checkpoint.paths(tmp_path / name) for name in ("plain", "later"))
    assert one.read_bytes() == other.read_bytes()
    found = []
    writer.begin(odd, found.append)  # of which torch.save would write whole memories
    writer.wait()
    alike(odd, found[0])


def test_what_is_written_is_the_state_of_the_call(writer, held):
    write, given, go_on = held
    state = {"weights": OrderedDict(a=torch.zeros(3)), "steps": [1, 2]}
    writer.begin(state, write)
    state["weights"]["a"] += 1
    state["weights"]["b"] = None
    state["steps"].append(3)
    go_on.set()
    writer.wait()
    alike(given[0], {"weights": OrderedDict(a=torch.zeros(3)), "steps": [1, 2]})


def test_the_caller_goes_on_and_the_next_write_waits_for_the_one_before(writer, held):
    write, given, go_on = held
    began = time.monotonic()
    writer.begin({"number": 1}, write)
    writer.look()
    assert time.monotonic() - began < 30 and given == []
    threading.Timer(0.2, go_on.set).start()
    writer.begin({"number": 2}, lambda state: given.append(state))
    assert given[0] == {"number": 1}  # whole before the second began
    writer.wait()
    assert [state["number"] for state in given] == [1, 2]


def fails(state):
    raise CheckpointError("no room")


def test_an_error_is_raised_once_at_the_next_call(writer):
    for call in (writer.wait, lambda: writer.begin({}, None)):
        writer.begin({}, fails)
        with pytest.raises(CheckpointError, match="no room"):
            call()
        writer.wait()
    writer.begin({}, fails)
    assert str(writer.close()) == "no room" and writer.close() is None
    writer.begin({}, fails)
    writer._thread.join()
    with pytest.raises(CheckpointError, match="no room"):
        writer.look()
