"""The optimizers, their schedule, and steps that never apply a gradient that is not finite."""

from __future__ import annotations

import math

import torch


def learning_rate(config, epoch, iteration, iterations):
    """The rate of one step: it rises linearly over the warm-up, then falls along a cosine to 0.

    The warm-up gives step i of w the share (i + 1) / w of config.lr. The cosine is set anew each
    epoch, as MoCo does, or each step.
    Args:
        epoch, iteration: of the step, both from 0.
        iterations: steps an epoch.
    """
    if epoch < config.warmup_epochs:
        return (
            config.lr * (epoch * iterations + iteration + 1) / (config.warmup_epochs * iterations)
        )
    done = (
        epoch
        - config.warmup_epochs
        + (iteration / iterations if config.lr_schedule == "cosine_step" else 0)
    )
    whole = config.span(iterations) - config.warmup_epochs
    return config.lr * 0.5 * (1 + math.cos(math.pi * done / whole))


class GuardedSGD:
    """SGD that skips every step from the first non-finite gradient on.

    The device decides that within the fused call, so no step waits for it. The host learns of it
    when it next reads `bad`. The weights are then those from before the bad step, which was
    `skipped` steps ago.
    """

    moments = 1
    """Tensors that torch's optimizer keeps for each parameter, of its size."""

    def __init__(self, parameters, config):
        self.parameters = list(parameters)
        self.sgd = self.made(config)
        # 1.0 from the first bad gradient on. SGD skips its step where this `found_inf` is 1.
        self.bad = torch.zeros((), dtype=torch.float32, device=self.parameters[0].device)
        self.skipped = torch.zeros_like(self.bad)

    def made(self, config):
        """torch's optimizer, whose fused step skips where its `found_inf` is 1."""
        return torch.optim.SGD(
            self.parameters,
            lr=config.lr,
            momentum=config.sgd_momentum,
            weight_decay=self.penalty(config),
            fused=True,
        )

    def penalty(self, config):
        """The L2 penalty that SGD itself adds to every gradient."""
        return config.weight_decay

    def step(self, lr):
        """One step; returns the norm of the gradient, 0-d on the device."""
        for group in self.sgd.param_groups:
            group["lr"] = lr
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        self.bad.copy_(torch.maximum(self.bad, (~norm.isfinite()).float()))
        self.skipped.add_(self.bad)
        self.prepare()
        self.sgd.grad_scale, self.sgd.found_inf = None, self.bad
        self.sgd.step()
        self.sgd.zero_grad(set_to_none=True)
        return norm

    def prepare(self):
        """Change the gradients in place before SGD takes them; nothing for plain SGD."""

    def state_dict(self):
        return self.sgd.state_dict()

    def load_state_dict(self, state):
        self.sgd.load_state_dict(state)


class GuardedLARS(GuardedSGD):
    """SGD on gradients that are scaled, layer by layer, to the length of the weights; guarded
    likewise.

    For a weight w of gradient g: g ← g + weight_decay w, then g ← trust |w| / |g| g (unscaled where
    either length is 0), then the momentum v ← sgd_momentum v + g and w ← w - lr v. Parameters of
    one dimension (biases, normalisation) take the plain gradient, without penalty or scaling.
    Source: You et al. 2017, arXiv:1708.03888; the exclusions as in BYOL and SimCLR. The rate
    multiplies the momentum, as in PyTorch's SGD; You et al. take it into v, which differs while the
    rate changes.
    """

    def __init__(self, parameters, config):
        super().__init__(parameters, config)
        self.trust, self.weight_decay = config.lars_trust, config.weight_decay

    def penalty(self, config):
        return 0.0  # it must come before the scaling

    @torch.no_grad()
    def prepare(self):
        weights = [
            parameter
            for parameter in self.parameters
            if parameter.grad is not None and parameter.ndim > 1
        ]
        gradients = [weight.grad for weight in weights]
        torch._foreach_add_(gradients, weights, alpha=self.weight_decay)
        lengths, slopes = (
            torch.stack(torch._foreach_norm(weights)),
            torch.stack(torch._foreach_norm(gradients)),
        )
        scales = torch.where((lengths > 0) & (slopes > 0), self.trust * lengths / slopes, 1.0)
        torch._foreach_mul_(gradients, list(scales.unbind()))


class GuardedAdamW(GuardedSGD):
    """AdamW, guarded likewise: its weight decay is no part of the gradient, and acts on all
    parameters but biases and normalisation.

    Source: Loshchilov and Hutter 2019, arXiv:1711.05101.
    """

    moments = 2

    def made(self, config):
        kinds = [
            [parameter for parameter in self.parameters if (parameter.ndim > 1) == wide]
            for wide in (True, False)
        ]
        decays = config.weight_decay, 0.0
        groups = [
            {"params": parameters, "weight_decay": decay}
            for parameters, decay in zip(kinds, decays, strict=True)
        ]
        betas = config.sgd_momentum, config.adam_beta2
        return torch.optim.AdamW(groups, lr=config.lr, betas=betas, fused=True)


OPTIMIZERS = {"sgd": GuardedSGD, "lars": GuardedLARS, "adamw": GuardedAdamW}
