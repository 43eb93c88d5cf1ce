"""The queue: rows enter it one by one, and its copy in half precision never falls behind."""

import copy

import pytest
import torch
import torch.nn.functional as F

from fastneg.methods import moco_torch
from fastneg.methods.moco_torch import HalfQueue, enqueue, half_of_autocast
from helpers.moco_method import build, views


@pytest.mark.parametrize("batches", [(5, 5, 5), (7, 7, 7, 7), (12, 12), (30,), (3, 24, 1)])
def test_enqueue_equals_rows_put_in_one_by_one(batches):
    queue, pointer = torch.zeros(12, 2), 0
    expected, place, value = torch.zeros(12, 2), 0, 1.0
    for size in batches:
        rows = torch.arange(value, value + size)[:, None].expand(size, 2)
        value += size
        pointer = enqueue(queue, rows, pointer)
        for row in rows:
            expected[place % 12] = row
            place += 1
    assert torch.equal(queue, expected)
    assert pointer == place % 12


def test_the_copy_is_written_row_by_row():
    queue, copied, pointer = torch.randn(12, 3), HalfQueue(), 0
    first = copied.of(queue, torch.bfloat16)
    for size in (5, 5, 5, 30):
        pointer = copied.enqueue(queue, torch.randn(size, 3), pointer)
        assert copied.of(queue, torch.bfloat16) is first
        assert torch.equal(first, queue.bfloat16())


@pytest.mark.parametrize("how", ["copy_", "row", "other tensor", "other dtype", "never asked for"])
def test_what_else_writes_to_the_queue_is_seen(how):
    queue, copied, dtype = torch.randn(12, 3), HalfQueue(), torch.bfloat16
    if how != "never asked for":
        copied.of(queue, dtype)
    if how == "copy_":
        queue.copy_(torch.randn(12, 3))
    elif how == "row":
        queue[3] = 0.0
    elif how == "other tensor":
        queue = torch.randn(12, 3)
    elif how == "other dtype":
        dtype = torch.float16
    copied.enqueue(queue, torch.randn(2, 3), 4)
    assert torch.equal(copied.of(queue, dtype), queue.to(dtype))


def test_on_a_cpu_there_is_no_copy():
    with torch.autocast("cpu", torch.bfloat16):
        assert half_of_autocast(torch.device("cpu")) is None


def test_training_with_the_copy_is_training_without_it(monkeypatch):
    """As on CUDA under autocast: the loss rounds the queue, or finds it rounded."""
    steps = []
    for half in (None, torch.bfloat16):
        monkeypatch.setattr(moco_torch, "half_of_autocast", lambda device, half=half: half)
        method, losses = build(), []
        for seed in range(3):
            torch.manual_seed(seed)
            with torch.autocast("cpu", torch.bfloat16):
                output = method(*views(m=1))
            output.loss.backward()
            losses.append(output.loss.detach())
            method.after_step(F.normalize(torch.randn(10, 16), dim=1))
        method.load_state_dict(copy.deepcopy(method.state_dict()))
        steps.append((losses, method))
    (plain, _), (copied, method) = steps
    assert plain == copied
    assert torch.equal(method.half_queue.of(method.queue, torch.bfloat16), method.queue.bfloat16())
    assert not [name for name in method.state_dict() if "half" in name]


@pytest.mark.gpu
def test_on_cuda_autocast_says_the_dtype():
    with torch.autocast("cuda", torch.bfloat16):
        assert half_of_autocast(torch.device("cuda", 0)) == torch.bfloat16
    assert half_of_autocast(torch.device("cuda", 0)) is None
