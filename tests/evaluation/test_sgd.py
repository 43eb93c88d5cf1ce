"""The loop of probes and fine-tuning is SGD with momentum 0.9, step for step."""

import pytest
import torch
import torch.nn.functional as F

from fastneg.config import ConfigError
from fastneg.evaluation.sgd import train_sgd


def data():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(12, 5, generator=generator), torch.arange(12) % 3


def test_it_is_sgd_with_the_schedule(float64):
    inputs, labels = data()
    inputs = inputs.double()
    batches = lambda epoch: [(inputs[i::2], labels[i::2]) for i in range(2)]
    schedule = lambda epoch, step: 0.5**epoch * (1 + step)
    ours, truth = torch.zeros(3, 5, requires_grad=True), torch.zeros(3, 5)
    train_sgd(
        lambda x: x @ ours.T,
        [{"params": [ours], "lr": 0.1}],
        batches,
        3,
        schedule=schedule,
        what="probe",
        weight_decay=0.01,
    )
    speed, step = torch.zeros(3, 5), 0
    for epoch in range(3):
        for x, y in batches(epoch):
            leaf = truth.clone().requires_grad_()
            F.cross_entropy((x @ leaf.T).float(), y).backward()
            speed = 0.9 * speed + leaf.grad + 0.01 * truth
            truth, step = truth - 0.1 * schedule(epoch, step) * speed, step + 1
    torch.testing.assert_close(ours.detach(), truth, rtol=1e-5, atol=1e-7)


def test_a_loss_that_is_not_finite_is_told():
    inputs, labels = data()
    weight = torch.zeros(3, 5, requires_grad=True)
    with pytest.raises(ConfigError, match="The loss of the probe is nan in epoch 1: lower --lr"):
        train_sgd(
            lambda x: x @ weight.T * float("nan"),
            [{"params": [weight], "lr": 0.1}],
            lambda epoch: [(inputs, labels)],
            1,
            schedule=lambda epoch, step: 1.0,
            what="probe",
        )
