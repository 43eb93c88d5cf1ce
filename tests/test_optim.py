"""SGD in one fused call, guarded against gradients that are not finite; the published schedule."""

import math

import pytest
import torch
from torch import nn

from fastneg.recipes.presets import moco_patch_in100, tiny_cpu
from fastneg.training.optim import GuardedSGD, learning_rate


def test_steps_are_those_of_plain_sgd():
    config = moco_patch_in100().replace(weight_decay=0.01)
    ours, theirs = nn.Linear(5, 3), nn.Linear(5, 3)
    theirs.load_state_dict(ours.state_dict())
    guarded, plain = GuardedSGD(ours.parameters(), config), torch.optim.SGD(theirs.parameters(), lr=0.5, momentum=0.9, weight_decay=0.01)
    for lr in (0.5, 0.3, 0.1):
        inputs = torch.randn(4, 5)
        for model in (ours, theirs):
            model(inputs).square().sum().backward()
        norm = torch.cat([parameter.grad.flatten() for parameter in theirs.parameters()]).norm()
        plain.param_groups[0]["lr"] = lr
        plain.step()
        plain.zero_grad()
        torch.testing.assert_close(guarded.step(lr), norm)
        for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(one, other)
    assert not guarded.bad


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_no_step_is_applied_from_the_first_bad_gradient_on(bad):
    model = nn.Linear(5, 3)
    optimizer = GuardedSGD(model.parameters(), tiny_cpu())
    model(torch.randn(4, 5)).square().sum().backward()
    optimizer.step(0.1)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    for factor in (bad, 1.0):  # a finite gradient after a bad one changes nothing either
        (factor * model(torch.randn(4, 5)).square().sum()).backward()
        optimizer.step(0.1)
        assert all(torch.equal(one, other) for one, other in zip(model.parameters(), before, strict=True))
    assert optimizer.bad


def test_the_schedule():
    config = moco_patch_in100().replace(lr=0.4, epochs=10)
    assert learning_rate(config, 0, 99, 100) == pytest.approx(0.4)
    assert learning_rate(config, 5, 0, 100) == learning_rate(config, 5, 99, 100) == pytest.approx(0.2)
    steps = config.replace(lr_schedule="cosine_step")
    assert learning_rate(steps, 5, 50, 100) == pytest.approx(0.2 * (1 + math.cos(math.pi * 0.55)))
    assert learning_rate(steps, 9, 99, 100) > 0
