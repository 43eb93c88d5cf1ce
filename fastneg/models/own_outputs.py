"""Checks the outputs of a user's own network: once on two images, and in every call.

Legend: N batch, F features, H W pixels.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from fastneg.config import ConfigError
from fastneg.errors import SettingsError


class Features:
    """A forward hook: (N, F) as it is; (N, F, H, W) → (N, F), the mean over the pixels.

    Anything else is a SettingsError, as of a network that gives more in training mode than in eval
    mode.
    """

    def __init__(self, name, width):
        self.name, self.width = str(name), width

    def __call__(self, module, images, out):
        tensor = isinstance(out, torch.Tensor)
        if not tensor or out.ndim not in (2, 4) or out.shape[1] != self.width:
            mode = "training" if module.training else "eval"
            raise SettingsError(
                f"--backbone {self.name} gives {_what(out)} in {mode} mode, where features "
                f"(N, {self.width}) were expected: let forward return the same in both modes."
            )
        return out.mean((2, 3)) if out.ndim == 4 else out


def tried(name, network, image_size):
    """What an own network on the CPU gives for two images in eval mode, with a graph.

    Args:
        name: of the network, for messages.
    Raises:
        ConfigError: it does not take them, or gives no features.
    """
    try:
        with in_eval_mode(network):
            out = network(images_of(image_size, 2))
    except Exception as error:
        raise ConfigError(
            f"--backbone {name} does not take images (2, 3, {image_size}, {image_size}): "
            f"{type(error).__name__}: {str(error).rstrip('.')}.{_other_dtype(network)}"
        ) from error
    fits = isinstance(out, torch.Tensor) and out.ndim in (2, 4) and len(out) == 2
    last = fits and out.ndim == 4 and out.shape[1] == out.shape[2] != out.shape[3]
    if last or not fits or not out.is_floating_point():
        # A map of square images is square: where the first two sides are alike, the channels are
        # the last ones, and the mean would be over them.
        hint = "Let forward return only the features, not several outputs and not tokens."
        if last:
            hint = "Its channels seem to be the last: let forward return out.permute(0, 3, 1, 2)."
        raise ConfigError(
            f"--backbone {name} gives {_what(out)} for images (2, 3, {image_size}, {image_size}): "
            f"features (2, F), or a map (2, F, H, W), of floats were expected. {hint}"
        )
    return out


def _what(out):
    """An output in words."""
    if not isinstance(out, torch.Tensor):
        return type(out).__name__
    dtype = "" if out.is_floating_point() else f" of {str(out.dtype).removeprefix('torch.')}"
    return f"{tuple(out.shape)}{dtype}"


def _other_dtype(network):
    """What to add where a network is not of float32."""
    kinds = {each.dtype for each in network.parameters() if each.is_floating_point()}
    if kinds <= {torch.float32}:
        return ""
    return " Images are float32, not all of its parameters are: call .float() on it."


@contextlib.contextmanager
def in_eval_mode(network: nn.Module) -> Iterator[None]:
    """Within it all parts of a network are in eval mode; afterwards each is as it was."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def images_of(side: int, count: int = 1) -> torch.Tensor:
    """(count, 3, side, side): images in which every pixel differs, and nothing is drawn."""
    return torch.linspace(-2, 2, count * 3 * side * side).view(count, 3, side, side)


def idle_parameters(network, out):
    """{name: parameter} of those that ask for a gradient and get none from an output."""
    asking = {name: each for name, each in network.named_parameters() if each.requires_grad}
    if not asking or not out.requires_grad:  # as where forward is under torch.no_grad
        return asking
    found = torch.autograd.grad(out.float().sum(), list(asking.values()), allow_unused=True)
    pairs = zip(asking.items(), found, strict=True)
    return {name: each for (name, each), gradient in pairs if gradient is None}
