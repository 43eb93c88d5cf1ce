"""The optimizer, its schedule, and steps that never apply a gradient that is not finite."""

from __future__ import annotations

import math

import torch


def learning_rate(config, epoch, iteration, iterations):
    """Cosine decay from config.lr to 0, set anew each epoch as MoCo does, or each step."""
    done = epoch / config.epochs if config.lr_schedule == "cosine_epoch" else (epoch + iteration / iterations) / config.epochs
    return config.lr * 0.5 * (1 + math.cos(math.pi * done))


class GuardedSGD:
    """SGD in one fused call that skips every step from the first non-finite gradient on, decided on the device.

    The host learns of it when it next reads `bad`, so no step waits for the device, and the weights that it then finds are those
    from before the bad step.
    """

    def __init__(self, parameters, config):
        self.parameters = list(parameters)
        self.sgd = torch.optim.SGD(
            self.parameters, lr=config.lr, momentum=config.sgd_momentum, weight_decay=config.weight_decay, fused=True
        )
        self.bad = torch.zeros((), device=self.parameters[0].device)

    def step(self, lr):
        """One step; returns the norm of the gradient, 0-d on the device."""
        for group in self.sgd.param_groups:
            group["lr"] = lr
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        self.bad.copy_(torch.maximum(self.bad, (~norm.isfinite()).float()))
        self.sgd.grad_scale, self.sgd.found_inf = None, self.bad
        self.sgd.step()
        self.sgd.zero_grad(set_to_none=True)
        return norm

    def state_dict(self):
        return self.sgd.state_dict()

    def load_state_dict(self, state):
        self.sgd.load_state_dict(state)
