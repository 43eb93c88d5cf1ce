"""A user's own networks as backbones: any nn.Module from images to features.

Legend: N batch, F features, C channels, H W pixels.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import inspect
import os
import re
import sys
import weakref
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from fastneg import plugins
from fastneg.config import ConfigError
from fastneg.config.method import is_own
from fastneg.counts import counted
from fastneg.models.own_outputs import (
    Features,
    idle_parameters,
    images_of,
    in_eval_mode,
    tried,
)

GIVEN = "object:"
"""How the name of a network begins that was given as an object and has no importable maker."""
IMAGENET_CLASSES = 1000
_MADE = weakref.WeakSet()
"""The networks that factories have given in this process."""


class Given(str):
    """The name of a network that carries what makes it: what `--backbone` names, as an object.

    In files it is the name alone.
    """

    make: Callable[[], nn.Module]
    """Gives a network of its own at each call."""

    def __new__(cls, name: str, make: Callable[[], nn.Module]) -> Given:
        given = super().__new__(cls, name)
        given.make = make
        return given

    def __deepcopy__(self, memo: object) -> str:
        return str(self)

    def __reduce__(self) -> tuple:
        return str, (str(self),)


def named(backbone: str | nn.Module | Callable[[], nn.Module], image_size: int) -> str:
    """A name for `PretrainConfig.backbone`: of a name, a network, or a function that makes one.

    A function or class that can be imported gives package.module:name, and so does a network whose
    class, called without arguments, makes one with the same outputs: later commands then make it
    themselves. Any other gives object:name, a `Given`, and must be given again.

    Args:
        image_size: side in pixels of the images on which two networks are compared.
    Raises:
        ConfigError: it is none of these, or cannot be copied.
    """
    if isinstance(backbone, str):
        return backbone
    if isinstance(backbone, nn.Module):
        own = unwrapped(backbone)
        # Once, here: a network that is trained later on does not change what a run begins with.
        kept = _first_copy(own, image_size)
        maker = _importable(type(own))
        name = maker if maker and _same_outputs(type(own), kept, image_size) else _called(type(own))
        return Given(name, lambda: _copied(kept))
    if callable(backbone):
        return Given(_importable(backbone) or _called(backbone), backbone)
    raise ConfigError(
        f"backbone is of type {type(backbone).__name__}: a name, an nn.Module or a function that "
        "makes one was expected."
    )


def unwrapped(network: nn.Module) -> nn.Module:
    """The network itself, out of torch.compile's and DataParallel's wrappers."""
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while True:
        if "_orig_mod" in network._modules:
            network = network._orig_mod
        elif isinstance(network, parallel):
            network = network.module
        else:
            return network


def own_network(name: str, image_size: int) -> tuple[nn.Module, int]:
    """(module from (N, 3, H, W) to (N, F), F) of an own network.

    It is called once in eval mode on two images. A feature map (N, F, H, W) is averaged over its
    pixels. Parameters that the features do not depend on no longer ask for gradients, which several
    processes would wait for. What was found stands in its `told`, lines for a person. A later call
    that gives anything else than (N, F) or a map of F channels, as in training mode, is a
    TrainingError.

    Args:
        name: package.module:factory, FILE.py:factory, or a `Given`. A factory takes no argument,
            or image_size.
        image_size: side in pixels of the images.
    Raises:
        ConfigError: it cannot be made, or gives no features.
    """
    network = _made(name, image_size)
    if not isinstance(network, nn.Module):
        raise ConfigError(
            f"--backbone {name} gives {type(network).__name__}: an nn.Module was expected."
        )
    network = _on_cpu(name, unwrapped(network))
    if isinstance(network, torch.jit.ScriptModule):
        raise ConfigError(
            f"--backbone {name} gives a TorchScript program, whose layers cannot be reached: give "
            "the nn.Module that it was made of."
        )
    out = tried(name, network, image_size)
    width, idle = out.shape[1], idle_parameters(network, out)
    for parameter in idle.values():
        parameter.requires_grad_(False)
    shape = f"features (N, {width})"
    if out.ndim == 4:
        shape += f", the mean over a map of {out.shape[2]}×{out.shape[3]}"
    network.register_forward_hook(Features(name, width))
    millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    network.told = [f"--backbone {name}: {millions:.2f} M parameters, {shape}."]
    for path, layer in network.named_children():
        if width == IMAGENET_CLASSES == getattr(layer, "out_features", None):
            network.told.append(
                f"  Its {path} has {width} outputs: if they are those of a classifier, put "
                "nn.Identity() in its place."
            )
    if idle:
        network.told.append(
            f"  {counted(len(idle), 'parameter')} of it (first: {next(iter(idle))}) have no part "
            "in the features and are not trained."
        )
    return network, width


def _on_cpu(name, network):
    try:
        return network.cpu()
    except NotImplementedError as error:  # torch's, of tensors on the device meta
        raise ConfigError(
            f"--backbone {name} has parameters without values, on the device meta: let it make "
            "them on the CPU, or call .to_empty(device='cpu') and initialise them."
        ) from error


def _made(name, image_size):
    if isinstance(name, Given):
        return _call(name, name.make, image_size)
    if name.startswith(GIVEN):
        raise ConfigError(
            f"The network {name.removeprefix(GIVEN)} was given as an object, which cannot be made "
            "again from a file. In Python pass it again: fastneg.pretrain(backbone=…), "
            "fastneg.load_run(RUN, backbone=…). For the commands put a function that makes it "
            "into a file, and make a run folder that names it: fastneg import RUN NEW --backbone "
            "FILE.py:FUNCTION."
        )
    target, _, attribute = name.rpartition(":")
    try:
        found = _imported(target)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:  # whatever the user's module raises
        raise ConfigError(
            f"--backbone {name} cannot be imported ({type(error).__name__}: {error}) from the "
            "current folder, PYTHONPATH or the installed packages. If it was renamed or moved, "
            "make a run folder with the new name: fastneg import RUN NEW --backbone "
            "PACKAGE.MODULE:FACTORY, or FILE.py:FACTORY."
        ) from error
    return _call(name, found, image_size)


def _imported(target):
    """The module of a name, or of a file."""
    if target.endswith(".py"):
        return plugins.module_of_file(Path(target))
    # As for `python -m fastneg`: a script's folder would come first, and the program has none.
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())
    return importlib.import_module(target)


def _call(name, make, image_size):
    if isinstance(make, nn.Module):
        raise ConfigError(
            f"--backbone {name} is a network, not a factory: name a class or function that makes a "
            "network at each call. In Python you can pass the network itself: "
            "fastneg.pretrain(backbone=…)."
        )
    try:
        made = make(image_size=image_size) if _takes_size(make) else make()
    except (Exception, SystemExit) as error:
        said = str(error).rstrip(".") or "without a message"
        raise ConfigError(
            f"--backbone {name} raises {type(error).__name__} when it is called: {said}. A class "
            "or function without arguments, or with image_size alone, was expected."
        ) from error
    if isinstance(made, nn.Module):
        if made in _MADE:  # trained by now, maybe, or frozen for evaluation
            raise ConfigError(
                f"--backbone {name} gives the same network at each call: let it make a new one. "
                "In Python you can pass the network itself: fastneg.pretrain(backbone=…)."
            )
        _MADE.add(made)
    return made


def _takes_size(make):
    try:
        return "image_size" in inspect.signature(make).parameters
    except (TypeError, ValueError):
        return False


def _first_copy(network, image_size):
    """A copy, also of a network with lazy parameters, or with weights that it computes: these can
    be copied after a call without a gradient."""
    try:
        return copy.deepcopy(network).cpu()
    except Exception:
        device = next((each.device for each in network.parameters()), "cpu")
        with contextlib.suppress(Exception), torch.no_grad(), in_eval_mode(network):
            network(images_of(image_size, 2).to(device))
        return _copied(network)


def _copied(network):
    try:
        return copy.deepcopy(network).cpu()
    except Exception as error:
        raise ConfigError(
            f"backbone is a {type(network).__name__} that cannot be copied ({error}): give a "
            "function that makes it."
        ) from error


def _called(maker):
    name = getattr(maker, "__qualname__", type(maker).__name__).replace("<locals>.", "")
    return GIVEN + re.sub(r"[^\w.]", "", f"{getattr(maker, '__module__', '')}.{name}").strip(".")


def _importable(maker):
    """package.module:name where importing that gives this very function or class; else None."""
    module, name = getattr(maker, "__module__", None), getattr(maker, "__qualname__", "<")
    if module in (None, "__main__", "builtins") or "<" in name:
        return None
    found = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    text = f"{module}:{name}"
    return text if found is maker and is_own(text) else None


@torch.no_grad()
def _same_outputs(cls, network, image_size):
    """Whether the class alone makes this network, but for its weights: then a name is enough.

    The same layers with the same options, as they are printed, and the same of them frozen.
    """
    try:
        with torch.random.fork_rng(devices=[]):
            other = cls().cpu().eval()
        own, images = copy.deepcopy(network).eval(), images_of(image_size, 2)
        expected = own(images)  # first, for it makes lazy parameters
        other(images)
        other.load_state_dict(own.state_dict())
        told = [(str(one), _trained(one)) for one in (own, other)]
        return told[0] == told[1] and torch.equal(other(images), expected)
    except Exception:  # then it has to be given again
        return False


def _trained(network):
    return [name for name, each in network.named_parameters() if each.requires_grad]
