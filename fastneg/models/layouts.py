"""Finds a network's tensors in a file of weights: the prefix under which all of them fit.

Names of a file are joined with dots, also through nested dicts: state_dict.module.encoder_q.conv1.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import nn

from fastneg.counts import counted

Tensors = Mapping[str, torch.Tensor]
Spelling = Callable[[str], str]

BESIDE = re.compile(
    r"fc|head|classif|linear|proj|pred|proto|queue|mlp|bank|cent|loss|criterion|momentum|teacher|"
    r"student|target|online|ema|logit|temperature|metric|acc|knn|probe|last_layer|decoder|"
    r"mask_token"
)
"""What stands beside a backbone and is no part of one, by the first part of its name."""
EVALUATED = re.compile(r"teacher|(^|[._])(ema|swa|averaged?|polyak)([._]|$)")
FOLLOWED = re.compile(r"student")
SLOW = re.compile(r"momentum|encoder_k|(^|[._])key([._]|$)|key_encoder|target|shadow|_k[._]")
SHOWN = 5
"""Places that a message lists."""


class Place(NamedTuple):
    """A place in a file where tensors of a network are."""

    prefix: str
    names: dict[str, str]
    """{the network's name: the file's}, of all that the network needs."""
    missing: list[str]
    """The network's names of those that are not there."""
    unlike: list[str]
    """The network's names of those that have another shape there, or are whole numbers there."""
    unknown: list[str]
    """Names below the prefix, without it, of a larger network: the place is not this one's."""
    left: list[str]
    """Names below the prefix, without it, that are no part of a backbone."""

    @property
    def fits(self) -> bool:
        return not (self.missing or self.unlike or self.unknown)

    @property
    def fitting(self) -> int:
        """How many tensors fit."""
        return len(self.names) - len(self.missing) - len(self.unlike)


def needed(network: nn.Module) -> dict[str, torch.Tensor]:
    """What a network cannot do without: checkpoints from before PyTorch 0.4.1 lack the counters of
    batch normalisation, which nothing here reads."""
    state = network.state_dict().items()
    return {name: each for name, each in state if not name.endswith("num_batches_tracked")}


def places(network: nn.Module, tensors: Tensors, prefix: str | None = None) -> list[Place]:
    """Every place in a file where tensors of a network are, those where all fit first.

    Args:
        tensors: those of the file.
        prefix: look there alone, whatever stands beside the network.
    """
    wanted, found = needed(network), {}
    for spell in _spellings(network):
        theirs = {spell(name): name for name in wanted}
        for place in sorted(_prefixes(tensors, theirs)):
            if prefix in (None, place):
                new = _looked_at(network, wanted, tensors, place, theirs, strict=prefix is None)
                if place not in found or new.fitting > found[place].fitting:
                    found[place] = new
    return sorted(found.values(), key=lambda place: (not place.fits, -place.fitting))


def _prefixes(tensors, theirs):
    """All that stand before one of these names in a file."""
    found = set()
    for name in tensors:
        found |= {prefix for prefix in _prefixes_of(name) if name[len(prefix) :] in theirs}
    return found


def _looked_at(network, wanted, tensors, prefix, theirs, strict):
    names = {ours: prefix + spelled for spelled, ours in theirs.items()}
    there = {ours for ours, name in names.items() if name in tensors}
    own = {spelled.partition(".")[0] for spelled in theirs}
    taken, unknown, left = set(names.values()), [], []
    for name in tensors:
        below = name[len(prefix) :]
        if not name.startswith(prefix) or name in taken or below.endswith("num_batches_tracked"):
            continue
        # What stands below one of the network's own parts belongs to a larger one of its kind.
        first = below.partition(".")[0]
        foreign = first in own or (strict and not BESIDE.search(first))
        (unknown if foreign and not _is_classifier(network, below) else left).append(below)
    return Place(
        prefix,
        names,
        [ours for ours in names if ours not in there],
        [n for n in names if n in there and not _alike(tensors[names[n]], wanted[n])],
        unknown,
        left,
    )


def _alike(one, other):
    return one.shape == other.shape and one.is_floating_point() == other.is_floating_point()


def _told(tensor):
    """The shape, and whether it is of floats."""
    return f"{tuple(tensor.shape)}" + ("" if tensor.is_floating_point() else " of whole numbers")


def _is_classifier(network, name):
    """Whether a tensor belongs to the place where the network's classifier was."""
    while "." in name:
        name = name.rpartition(".")[0]
        try:
            return isinstance(network.get_submodule(name), nn.Identity)
        except AttributeError:
            continue
    return False


def _spellings(network) -> Iterator[Spelling]:
    """Under which names a network's tensors may stand, beside its own: as lightly's users build
    theirs, nn.Sequential(*list(network.children())[:-1]), and as lightly's own ResNets are."""
    children = [name for name, _ in network.named_children()]
    holding = [name for name, child in network.named_children() if len(child.state_dict())]
    numbered = [{}] + [{name: str(i) for i, name in enumerate(one)} for one in (children, holding)]
    for numbers in numbered:
        for shortcut in ("downsample", "shortcut"):
            yield functools.partial(_spelled, numbers, shortcut)


def _spelled(numbers, shortcut, name):
    first, dot, rest = name.partition(".")
    rest = rest.replace("downsample.", f"{shortcut}.") if shortcut != "downsample" else rest
    return numbers.get(first, first) + dot + rest


def rank(prefix: str) -> int:
    """Which of several places is taken, the lowest first.

    0 for a teacher or an average of weights, where the authors evaluate that; 1 for an encoder that
    is trained; 2 for one that follows a teacher; 3 for a copy that follows an encoder.
    """
    if EVALUATED.search(prefix):
        return 0
    if FOLLOWED.search(prefix):
        return 2
    return 3 if SLOW.search(prefix) else 1


def in_order(network: nn.Module, tensors: Tensors) -> Place | None:
    """The place where as many tensors stand in the same order, of the same kinds (weight, bias, …)
    and shapes, under any names; None where there is none, or several.

    A classifier may follow them.
    """
    wanted = needed(network)
    kinds = [(name.rpartition(".")[2], tuple(each.shape)) for name, each in wanted.items()]
    names = [name for name in tensors if not name.endswith("num_batches_tracked")]
    found = {}
    # Of several that the same names stand below, the longest is the last.
    for prefix in sorted({"", *(prefix for name in names for prefix in _prefixes_of(name))}):
        below = [name for name in names if name.startswith(prefix)]
        theirs = [(name.rpartition(".")[2], tuple(tensors[name].shape)) for name in below]
        if theirs[: len(kinds)] == kinds and len(theirs) - len(kinds) <= 2:
            found[tuple(below)] = prefix
    if len(found) != 1:
        return None
    ((below, prefix),) = found.items()
    paired = dict(zip(wanted, below, strict=False))
    return Place(prefix, paired, [], [], [], [name[len(prefix) :] for name in below[len(kinds) :]])


def _prefixes_of(name):
    """All beginnings of a name that end before a part of it, the empty one first."""
    return [name[:place] for place in [0, *(dot.end() for dot in re.finditer(r"\.", name))]]


def by_timms_filter(network: nn.Module, tensors: Tensors) -> dict[str, torch.Tensor] | None:
    """The tensors under timm's names, where timm knows how another project's file of this network
    is translated; else None."""
    translate = getattr(sys.modules.get(type(network).__module__), "checkpoint_filter_fn", None)
    if translate is None or not type(network).__module__.startswith("timm."):
        return None
    near = [place.prefix for place in places(network, tensors) if place.fitting][:SHOWN]
    usual = ("", "state_dict.", "model.", "teacher.", "module.", "state_dict.module.")
    for root in dict.fromkeys([*sorted(near, key=rank), *usual]):
        below = {n[len(root) :]: each for n, each in tensors.items() if n.startswith(root)}
        try:
            made = translate(dict(below), network)
        except Exception:  # it is of another project
            continue
        beside = {name: each for name, each in tensors.items() if not name.startswith(root)}
        made = beside | {root + name: each for name, each in made.items()}
        if any(place.fits for place in places(network, made)):
            return made
    return None


def told_of(misses: list[Place], tensors: Tensors, wanted: Tensors) -> list[str]:
    """Where parts of a network fit, in lines."""
    lines = []
    for miss in misses[:SHOWN]:
        where, all_of = miss.prefix or "(no prefix)", counted(len(wanted), "tensor")
        line = f"  {where}: {miss.fitting} of {all_of} fit"
        if miss.unlike:
            name = miss.unlike[0]
            came, due = _told(tensors[miss.names[name]]), _told(wanted[name])
            line += f"; {name} is {came}, {due} was expected"
        elif miss.missing:
            line += f"; {miss.missing[0]} is missing"
        elif miss.unknown:
            line += f"; {miss.unknown[0]} is unknown"
        lines.append(line)
    return lines


def refusal(
    backbone: nn.Module, path: str, tensors: Tensors, found: list[Place], prefix: str | None
) -> str:
    """What to say of a file in which the backbone fits nowhere.

    Args:
        path: of the file.
        found: what `places` gave.
        prefix: where alone it was looked for, or None.
    """
    wanted = needed(backbone)
    if not found and prefix is not None:
        elsewhere = told_of(places(backbone, tensors), tensors, wanted)
        where = prefix.strip(".") or "(none)"
        said = f"{path} holds no tensor of the backbone under the prefix {where}."
        title = ["What fits under which prefix:"] if elsewhere else []
        return "\n".join([said, *title, *elsewhere])
    if not found:
        return (
            f"{path} holds no tensor with a name of the backbone's: it has "
            f"{', '.join(list(tensors)[:3])}, …, {', '.join(list(wanted)[:3])}, … were expected, "
            f"under any prefix.{_order_hint(backbone, tensors)}"
        )
    best = found[0]
    first = (best.unlike or best.missing or best.unknown)[0]
    return (
        f"The weights of {path} do not fit the backbone: "
        f"{counted(len(best.missing), 'tensor')} missing, {len(best.unknown)} unknown, "
        f"{len(best.unlike)} of another shape or type (first: {first}). "
        "What fits under which prefix:\n"
        + "\n".join(told_of(found, tensors, wanted))
        + f"\n{_advice(backbone, tensors, wanted, best, first)}"
    )


def _advice(backbone, tensors, wanted, best, first):
    if best.unknown and best.fitting == len(wanted):
        return (
            "All of the backbone is there. If what is unknown is no layer of the same network, "
            f"take it with --prefix {best.prefix.strip('.') or '.'} (of --init: --init_prefix)."
        )
    hint = "Name the network they are of with --backbone, and a ViT's --image_size."
    if len(best.unlike) == 1 and not best.missing and wanted[first].ndim == 4:
        came, due = tensors[best.names[first]].shape, wanted[first].shape
        if came[0] == due[0] and came[1] != due[1] == 3 and came[2:] == due[2:]:
            hint = (
                f"They are of images with {counted(came[1], 'channel')}, and images here have 3: "
                "make that layer's weight one of 3 channels, and save the weights again."
            )
        elif came[:2] == due[:2] and (3, 3) in (came[2:], due[2:]):
            small = came[2:] == (3, 3)
            hint = f"Its first convolution is {'' if small else 'larger than '}3×3: give --stem "
            hint += "small." if small else "standard."
    return hint + _order_hint(backbone, tensors)


def _order_hint(backbone, tensors):
    if in_order(backbone, tensors) is None:
        return ""
    return (
        " As many tensors of the same kinds and shapes stand there in the same order under other "
        "names: --by_order True takes them, if it is the same network."
    )
