"""The count of a step's bytes and operations against numbers worked by hand."""

import pytest
import torch
from torch import nn

from fastneg.recipes.bench.step_count import _Counting, count_step, gradient_bytes
from fastneg.recipes.presets import tiny_cpu


def counted(run):
    """The operators of a function, by hand of the same mode."""
    with _Counting() as counting:
        run()
    return counting.ops


def only(ops, term):
    return [(op.name, op.phase, op.bytes, op.flops) for op in ops if op.term == term]


def test_a_convolution_forward_and_backward():
    images = torch.zeros(2, 3, 8, 8, requires_grad=True)
    layer = nn.Conv2d(3, 4, 3, padding=1, bias=False)
    x, w, y, macs = 4 * 2 * 3 * 64, 4 * 4 * 3 * 9, 4 * 2 * 4 * 64, 2 * 4 * 64 * 3 * 9
    ops = counted(lambda: layer(images).square().sum().backward())
    assert only(ops, "convolutions") == [
        ("convolution", "forward", x + w + y, 2 * macs),
        # dx from dy and w, dw from dy and x
        ("convolution_backward", "backward", (y + w + x) + (y + x + w), 4 * macs),
    ]


def test_statistics_take_a_pass_of_their_own():
    images = torch.zeros(4, 3, 8, 8, requires_grad=True)
    layer, size = nn.BatchNorm2d(3).train(), 4 * 4 * 3 * 64
    (forward, backward) = only(
        counted(lambda: layer(images).square().sum().backward()), "batch norm"
    )
    assert forward[2] == pytest.approx(3 * size, rel=0.05)  # read, read, written
    assert backward[2] == pytest.approx(5 * size, rel=0.05)  # twice x and dy, dx


def test_what_is_viewed_or_expanded_moves_nothing():
    images = torch.zeros(4, 3, 8, 8)
    assert not counted(lambda: images.permute(0, 2, 3, 1)[1:].view(3, -1, 3))
    (op,) = counted(lambda: images[:1].expand(4, 3, 8, 8).add(images))
    assert op.bytes == 4 * 4 * 3 * 64 * 3, "an image that is expanded has its storage's bytes"
    assert op.term == "additions"


def test_changes_in_place_are_read_and_written():
    images = torch.zeros(4, 3, 8, 8)
    (op,) = counted(lambda: images.relu_())
    assert (op.term, op.bytes) == ("ReLU", 2 * images.numel() * 4)


@pytest.fixture(scope="module")
def steps():
    """{fused_bn: operators of a step of the demo's network}"""
    config = tiny_cpu().replace(batch_size=64, queue_size=128)
    return {mode: count_step(config.replace(fused_bn=mode)) for mode in ("auto", "off")}


def test_a_whole_step_is_counted(steps):
    ops = steps["off"]
    terms = {op.term for op in ops}
    assert {"convolutions", "batch norm", "ReLU", "loss", "heads", "optimizer"} <= terms
    assert {op.phase for op in ops} == {"forward", "backward", "optimizer", "momentum"}
    config = tiny_cpu()
    (loss,) = (op for op in ops if op.term == "loss")
    assert loss.flops == 4 * 64 * (128 + config.negatives_per_query) * config.feature_dim
    convolutions = [op for op in ops if op.term == "convolutions"]
    forward = [op.flops for op in convolutions if op.phase == "forward"]
    # one pass with a gradient, which costs twice as much again but for the first layer, and two
    # without
    backward = sum(op.flops for op in convolutions if op.phase == "backward")
    assert backward == pytest.approx(2 * sum(forward) / 3, rel=0.1)


def test_a_batch_twice_as_large_moves_twice_as_much(steps):
    config = tiny_cpu().replace(batch_size=128, queue_size=128, fused_bn="off")
    of_term = lambda ops, term: sum(op.bytes for op in ops if op.term == term)
    double = count_step(config)
    for term, share in (("ReLU", 2.0), ("optimizer", 1.0)):
        assert of_term(double, term) == pytest.approx(share * of_term(steps["off"], term))


def test_as_on_a_gpu_the_relu_is_in_the_normalisation(steps):
    moved = {
        mode: sum(op.bytes for op in ops if op.term in ("ReLU", "batch norm", "additions"))
        for mode, ops in steps.items()
    }
    assert moved["auto"] < 0.85 * moved["off"]


def test_gradients_are_counted():
    layers = gradient_bytes(tiny_cpu().replace(feature_dim=64))
    # the head's last layer: 64 more features of the hidden layer, and as many biases
    more = gradient_bytes(tiny_cpu().replace(feature_dim=128))
    assert more > layers and (more - layers) % (4 * 64) == 0
