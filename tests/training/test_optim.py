"""SGD and LARS against their plain definitions, guarded against gradients that are not finite; the
published schedule."""

import copy
import math

import pytest
import torch
from torch import nn

from fastneg.recipes.presets import moco_patch_in100, tiny_cpu
from fastneg.training.optim import OPTIMIZERS, GuardedLARS, GuardedSGD, learning_rate


def test_steps_are_those_of_plain_sgd():
    config = moco_patch_in100().replace(weight_decay=0.01)
    ours, theirs = nn.Linear(5, 3), nn.Linear(5, 3)
    theirs.load_state_dict(ours.state_dict())
    guarded, plain = (
        GuardedSGD(ours.parameters(), config),
        torch.optim.SGD(theirs.parameters(), lr=0.5, momentum=0.9, weight_decay=0.01),
    )
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


def plain_lars(weights, gradients, momenta, lr, momentum, decay, trust):
    """One step of LARS written out for each parameter, in float64."""
    for name, weight in weights.items():
        change = gradients[name]
        if weight.ndim > 1:
            change = change + decay * weight
            if weight.norm() > 0 and change.norm() > 0:
                change = change * trust * weight.norm() / change.norm()
        momenta[name] = momentum * momenta.get(name, 0.0) + change
        weights[name] = weight - lr * momenta[name]


def test_steps_are_those_of_plain_lars():
    """With normalisation, biases and a layer of zeros, behind which the first gradients are zero
    too."""
    config = moco_patch_in100().replace(optimizer="lars", weight_decay=0.01, lars_trust=0.02)
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 5),
        nn.Linear(5, 2),
    )
    nn.init.zeros_(model[4].weight)
    optimizer = GuardedLARS(model.parameters(), config)
    weights = {name: value.detach().double().clone() for name, value in model.named_parameters()}
    momenta = {}
    for lr in (0.1, 0.4, 0.02, 0.02):
        (model(torch.randn(6, 3, 6, 6)) - 1).square().mean().backward()
        gradients = {name: value.grad.double().clone() for name, value in model.named_parameters()}
        norm = torch.cat([gradient.flatten() for gradient in gradients.values()]).norm()
        torch.testing.assert_close(optimizer.step(lr).double(), norm, rtol=1e-5, atol=1e-6)
        plain_lars(weights, gradients, momenta, lr, 0.9, 0.01, 0.02)
        for name, value in model.named_parameters():
            torch.testing.assert_close(
                value.double(), weights[name], rtol=1e-5, atol=1e-6, msg=name
            )
    assert not optimizer.bad


def test_lars_goes_on_from_its_state():
    config = tiny_cpu().replace(optimizer="lars")
    first = nn.Linear(5, 3)
    one = GuardedLARS(first.parameters(), config)
    first(torch.ones(2, 5)).square().sum().backward()
    one.step(0.5)
    second = nn.Linear(5, 3)
    second.load_state_dict(first.state_dict())
    other = GuardedLARS(second.parameters(), config)
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    for model, optimizer in ((first, one), (second, other)):
        model(torch.ones(2, 5)).square().sum().backward()
        optimizer.step(0.5)
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_step_is_applied_from_the_first_bad_gradient_on(name, bad):
    model = nn.Linear(5, 3)
    optimizer = OPTIMIZERS[name](model.parameters(), tiny_cpu().replace(optimizer=name))
    model(torch.randn(4, 5)).square().sum().backward()
    optimizer.step(0.1)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    for factor in (bad, 1.0):  # a finite gradient after a bad one changes nothing either
        (factor * model(torch.randn(4, 5)).square().sum()).backward()
        optimizer.step(0.1)
        assert all(
            torch.equal(one, other) for one, other in zip(model.parameters(), before, strict=True)
        )
    assert optimizer.bad


def test_the_schedule():
    config = moco_patch_in100().replace(lr=0.4, epochs=10)
    assert learning_rate(config, 0, 99, 100) == pytest.approx(0.4)
    assert (
        learning_rate(config, 5, 0, 100) == learning_rate(config, 5, 99, 100) == pytest.approx(0.2)
    )
    steps = config.replace(lr_schedule="cosine_step")
    assert learning_rate(steps, 5, 50, 100) == pytest.approx(0.2 * (1 + math.cos(math.pi * 0.55)))
    assert learning_rate(steps, 9, 99, 100) > 0


@pytest.mark.parametrize("schedule", ["cosine_epoch", "cosine_step"])
def test_warm_up_rises_step_by_step_and_the_cosine_takes_the_rest(schedule):
    config = moco_patch_in100().replace(lr=2.0, epochs=12, warmup_epochs=2, lr_schedule=schedule)
    rates = [learning_rate(config, epoch, i, 5) for epoch in range(12) for i in range(5)]
    assert rates[:10] == pytest.approx([0.2 * (step + 1) for step in range(10)])
    assert rates[10] == pytest.approx(2.0)
    assert rates[35] == pytest.approx(1.0)  # half of the ten epochs that are left
    places = [
        (step - 10) // 5 / 10 if schedule == "cosine_epoch" else (step - 10) / 50
        for step in range(10, 60)
    ]
    assert rates[10:] == pytest.approx([1 + math.cos(math.pi * place) for place in places])


def test_steps_are_those_of_plain_adamw_without_decay_of_biases_and_norms():
    config = moco_patch_in100().replace(optimizer="adamw", weight_decay=0.1, adam_beta2=0.95)
    ours = nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    theirs = copy.deepcopy(ours)
    guarded = OPTIMIZERS["adamw"](ours.parameters(), config)
    wide = [each for each in theirs.parameters() if each.ndim > 1]
    thin = [each for each in theirs.parameters() if each.ndim == 1]
    groups = [{"params": wide, "weight_decay": 0.1}, {"params": thin, "weight_decay": 0.0}]
    plain = torch.optim.AdamW(groups, lr=0.1, betas=(0.9, 0.95), fused=False)
    for lr in (0.1, 0.05, 0.02):
        inputs = torch.randn(6, 5)
        for model in (ours, theirs):
            model(inputs).square().sum().backward()
        for group in plain.param_groups:
            group["lr"] = lr
        plain.step()
        plain.zero_grad()
        guarded.step(lr)
        for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    before = copy.deepcopy(list(ours.parameters()))
    ours(torch.full((2, 5), float("nan"))).sum().backward()
    guarded.step(0.1)
    assert guarded.bad and all(map(torch.equal, before, ours.parameters()))
