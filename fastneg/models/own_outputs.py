"""Checks the outputs of a user's own network: once on two images, and in every call.

Legend: N batch, F features, H W pixels.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import nn

from fastneg.config import ConfigError
from fastneg.errors import SettingsError

SHOWN = 4
"""Parts of an output that a message lists."""


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
    images = images_of(image_size, 2)
    try:
        with in_eval_mode(network):
            out = network(images)
    except Exception as error:
        raise ConfigError(
            f"--backbone {name} does not take images (2, 3, {image_size}, {image_size}) "
            f"(--image_size): {type(error).__name__}: {str(error).rstrip('.')}."
            f"{_other_dtype(network)}"
        ) from error
    if objection := _objection(out):
        raise ConfigError(
            f"--backbone {name} gives {_what(out)} for images (2, 3, {image_size}, {image_size}): "
            f"features (2, F), or a map (2, F, H, W), of floats were expected. {objection}"
        )
    if not torch.equal(images, images_of(image_size, 2)):
        raise ConfigError(
            f"--backbone {name} changes the images that it is given, which others still need: let "
            "its first operation be none in place."
        )
    return out


def _objection(out):
    """What to do about an output that is not features of two images; None where it is."""
    if found := _parts(out):
        fitting = [key for key, each in found.items() if _fits(each)]
        which = f", such as out{fitting[-1] if '[0]' in found else fitting[0]}" if fitting else ""
        return f"Let forward return one of them{which}."
    if not isinstance(out, torch.Tensor) or out.ndim not in (2, 3, 4) or len(out) != 2:
        return "Let forward return only the features, one row for each image."
    if out.ndim == 3:
        return (
            "If they are tokens (N, L, F), let forward return their mean, out.mean(1), or the "
            "class token, out[:, 0]."
        )
    # A map of square images is square: where the first two sides are alike, the channels are the
    # last ones, and the mean would be over them.
    if out.ndim == 4 and out.shape[1] == out.shape[2] != out.shape[3]:
        return "Its channels seem to be the last: let forward return out.permute(0, 3, 1, 2)."
    if out.dtype != torch.float32:
        return "Call .float() on the network, or let forward return out.float()."
    return None


def _fits(out):
    return isinstance(out, torch.Tensor) and _objection(out) is None


def _parts(out):
    """{how it is written after the output: part} of an output of several; {} of another."""
    if isinstance(out, Mapping):
        return {f"[{key!r}]": each for key, each in out.items()}
    if dataclasses.is_dataclass(out):
        return {f".{field.name}": getattr(out, field.name) for field in dataclasses.fields(out)}
    if isinstance(out, (list, tuple)):
        return {f"[{number}]": each for number, each in enumerate(out)}
    return {}


def _what(out):
    """An output in words."""
    if found := list(_parts(out).items()):
        told = ", ".join(f"{key} {_what(each)}" for key, each in found[:SHOWN])
        more = ", …" if len(found) > SHOWN else ""
        return f"{type(out).__name__} of {told}{more}"
    if not isinstance(out, torch.Tensor):
        return type(out).__name__
    dtype = "" if out.dtype == torch.float32 else f" of {str(out.dtype).removeprefix('torch.')}"
    return f"{tuple(out.shape)}{dtype}"


def copied(network: nn.Module, make: Callable[[], nn.Module], image_size: int) -> nn.Module:
    """A copy of an own network, or of an encoder with one, on its device.

    It may hold what cannot be copied, or a hook that would go on working on the first one: then
    another is made, and gets the weights.

    Args:
        make: makes another such network.
        image_size: side in pixels of the images on which the two are compared.
    Raises:
        SettingsError: that one gives other features.
    """
    with contextlib.suppress(Exception):  # whatever is in a user's network
        copy_of_it = copy.deepcopy(network)
        if _alike(network, copy_of_it, image_size):
            return copy_of_it
    with torch.random.fork_rng(devices=[]):
        made = make()
    made.load_state_dict(network.state_dict())
    made = made.to(next(network.parameters()).device)
    if not _alike(network, made, image_size):
        raise SettingsError(
            "The backbone cannot be copied: another one with the same weights gives other "
            "features. Its state_dict() must hold all that they depend on, and in eval mode they "
            "must not be random."
        )
    return made


@torch.no_grad()
def _alike(one, other, image_size):
    """Whether two networks give the same features in eval mode."""
    device = next(one.parameters()).device
    images = images_of(image_size, 3).to(device)  # not as many as in another call before
    try:
        with in_eval_mode(one), in_eval_mode(other):
            ours, theirs = _seeded(one, images), _seeded(other, images)
    except Exception:  # whatever a network raises on what was left of another call
        return False
    # A GPU does not compute them bit for bit alike each time.
    return ours.shape == theirs.shape and torch.allclose(ours, theirs, rtol=1e-2, atol=1e-3)


def _seeded(network, images):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return network(images)


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
