"""Reads weights of other projects, and of fastneg's runs, into a method.

Legend: D feature dimension, F backbone features, K queue.
"""

from __future__ import annotations

import argparse
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from fastneg.config import PretrainConfig
from fastneg.counts import counted
from fastneg.errors import WeightsError, WeightsOptionError
from fastneg.models.layouts import (
    Place,
    by_timms_filter,
    in_order,
    needed,
    places,
    rank,
    refusal,
)
from fastneg.models.torch_files import UnreadableError, load_file, not_finite
from fastneg.runs.paths import CHECKPOINT_NAMES, CHECKPOINTS, is_run

WRAPPED = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
"""Parts of names that torch.compile, FSDP and activation checkpointing put in."""
HEAD = re.compile(r"(^|[._])(fc|classifier|\w*head|\w*proj\w*)([._]|$)")


@dataclass(frozen=True)
class Weights:
    """What a file holds."""

    path: str
    tensors: dict[str, torch.Tensor]
    """Under the file's names, those of nested dicts joined with dots, without wrappers' parts."""
    queue: torch.Tensor | None = None
    """(K, D)."""
    pointer: int = 0
    config: PretrainConfig | None = None
    """Of a run of fastneg: its settings."""


@dataclass(frozen=True)
class Taken:
    """What `load_into` found."""

    said: list[str]
    """Lines that say what was taken and what was not."""
    backbone: Place
    tensors: dict[str, torch.Tensor]
    head: bool
    """Whether the projector was taken."""


def read_weights(path: str | Path) -> Weights:
    """Read the tensors of a checkpoint or state dict (.pth, .pt, .ckpt, .bin, .safetensors), or of
    the newest checkpoint of a run folder.

    Raises:
        WeightsError: the file cannot be read without running code, holds no tensors, or holds
            values that are not finite.
    """
    path = _newest(Path(path))
    content = _load(path)
    tensors = dict(_flat(content))
    if not tensors:
        held = ", ".join(repr(key) for key in list(content)[:5]) or "nothing"
        raise WeightsError(f"{path} holds no weights (but {held}): a state dict was expected.")
    if odd := [name for name, value in tensors.items() if not _is_plain(value)]:
        kind = tensors[odd[0]]
        raise WeightsError(
            f"{path} holds {counted(len(odd), 'tensor')} of a kind that is not read (first: "
            f"{odd[0]}, {_kind(kind)}): save a state dict of dense float32, float16 or bfloat16."
        )
    if bad := not_finite(tensors):
        raise WeightsError(
            f"{path} holds values that are not finite in {len(bad)} of "
            f"{counted(len(tensors), 'tensor')} (first: {bad[0]}): the network broke down "
            "when it was trained, or the file is damaged. Take an earlier checkpoint of it."
        )
    config = _own_config(content)
    queue, pointer = _queue(path, tensors, content.get("method") if config else None)
    return Weights(str(path), tensors, queue, pointer, config)


def _newest(path):
    """The newest checkpoint of a run folder; a file as it is."""
    found = sorted((path / CHECKPOINTS).glob(CHECKPOINT_NAMES)) if is_run(path) else []
    return found[-1] if found else path


def _load(path):
    try:
        # MoCo-style scripts keep their parsed command line in the checkpoint: a bag of values,
        # which runs no code.
        content = load_file(path, also=[argparse.Namespace])
    except UnreadableError as error:
        raise WeightsError(f"{path} cannot be read as weights: {error}.") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds a {type(content).__name__}: a state dict was expected.")
    return content


def _flat(content: dict, before: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of nested dicts, but for an optimizer's."""
    for name, value in content.items():
        if not isinstance(name, str) or name.startswith("optim"):
            continue
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        elif isinstance(value, torch.Tensor):
            parts = f"{before}{name}".split(".")
            yield ".".join(part for part in parts if part not in WRAPPED), value


def _is_plain(tensor):
    """Whether a tensor is dense and holds its values themselves, in a type that can be computed
    with."""
    dense = tensor.layout == torch.strided and not tensor.is_meta and not tensor.is_quantized
    small = tensor.is_floating_point() and tensor.element_size() < 2
    return dense and not small and not tensor.is_complex()


def _kind(tensor):
    if tensor.is_meta:
        return "without values, on the device meta"
    layout = "" if tensor.layout == torch.strided else f" as {tensor.layout}"
    return f"{tensor.dtype}{layout}".replace("torch.", "")


def _own_config(content):
    """The settings of a run of fastneg, whose checkpoint this is; else None."""
    ours = {"format", "config", "method"} <= content.keys()
    return PretrainConfig.read(content["config"]) if ours else None


def _queue(path, tensors, own):
    """((K, D) or None, the pointer) of the first queue in a file."""
    if own is not None:
        return own.get("queue"), own.get("_extra_state", {}).get("pointer", 0)
    named = {name.rpartition(".")[2]: each for name, each in tensors.items()}
    queue, pointer = named.get("queue"), named.get("queue_ptr")
    if queue is None:
        return None, 0
    if queue.ndim == 3 and len(queue) == 2:
        queue = queue[0]  # solo-learn's: one for each of two views
    if queue.ndim != 2 or (pointer is not None and pointer.numel() != 1):
        raise WeightsError(
            f"{path} has a queue of {tuple(queue.shape)}: (D, K) and one pointer were expected."
        )
    return queue.t().contiguous(), 0 if pointer is None else int(pointer)


def load_into(
    method: nn.Module, weights: Weights, prefix: str | None = None, by_order: bool = False
) -> Taken:
    """Put weights into a method, in place.

    Every tensor of the backbone must be there, by name and shape, under one prefix; which one is
    said. Of several a teacher or an average of weights is taken, for those are what their authors
    evaluate; then an encoder that is trained, before a copy that follows it. Head, predictor, key
    encoder and queue are taken where they are there and fit. Otherwise the key encoder starts as a
    copy of the query encoder, and the others stay as they were made.

    Args:
        method: a module with `query_encoder`, and with `key_encoder`, `predictor` and `queue` where
            it has them.
        weights: `Weights`.
        prefix: where the backbone is, with or without the dot at its end ("." for no prefix), and
            whatever stands beside it there; None: it is looked for.
        by_order: take tensors under other names, where they are as many in the same order, of the
            same kinds and shapes.
    Raises:
        WeightsError: the backbone is not there, or several are and none is to be preferred.
    """
    backbone = method.query_encoder.backbone
    if prefix is not None:
        prefix = f"{stripped}." if (stripped := prefix.strip(".")) else ""
    found, tensors = _found(backbone, weights, prefix, by_order)
    translated = tensors is not weights.tensors
    place = _chosen(weights, tensors, [each for each in found if each.fits])
    if place is None:
        kind = WeightsError if found or prefix is None else WeightsOptionError
        raise kind(refusal(backbone, weights.path, tensors, found, prefix))
    said = [
        f"Weights of {weights.path}:",
        f"  backbone: {_take(backbone, place, tensors)}, {counted(len(place.names), 'tensor')}",
    ]
    if translated:
        said.append("  translated by timm: its names, and sizes of its embeddings")
    if place.left:
        beside = dict.fromkeys(name.partition(".")[0] for name in place.left)
        said.append(f"  beside it, and not of it: {', '.join(beside)}")
    has_head, head = _take_head(method.query_encoder.projector, tensors, place)
    said.append(f"  head: {head}")
    if hasattr(method, "predictor"):
        _, predictor = _take_head(method.predictor, tensors, place, predictor=True)
        said.append(f"  predictor: {predictor}")
    if getattr(method, "key_encoder", None) is not None:
        key, key_head = _take_key(method, tensors, found, place)
        said += [f"  key encoder: {key}", *([f"  its head: {key_head}"] if key_head else [])]
    if getattr(method, "queue", None) is not None:
        said.append(f"  queue: {_take_queue(method, weights)}")
    return Taken(said, place, tensors, has_head)


def _found(backbone, weights, prefix, by_order):
    """([Place], the tensors that they name)"""
    tensors = weights.tensors
    if by_order:
        place = in_order(backbone, tensors)
        if place is None:
            raise WeightsOptionError(
                f"{weights.path} has no place where the backbone's "
                f"{counted(len(needed(backbone)), 'tensor')} stand in their order, of the same "
                "kinds and shapes: leave --by_order out."
            )
        return [place], tensors
    found = places(backbone, tensors, prefix)
    if not any(place.fits for place in found) and prefix is None:
        translated = by_timms_filter(backbone, tensors)
        if translated is not None:
            return places(backbone, translated), translated
    return found, tensors


def _chosen(weights, tensors, fits):
    """The place of which the backbone is taken."""
    if not fits:
        return None
    best = min(rank(place.prefix) for place in fits)
    first, *others = [place for place in fits if rank(place.prefix) == best]
    for other in others:
        alike = all(
            torch.equal(tensors[first.names[name]], tensors[other.names[name]])
            for name in first.names
        )
        if not alike:
            listed = ", ".join(
                place.prefix.strip(".") or "(no prefix)" for place in [first, *others]
            )
            raise WeightsOptionError(
                f"{weights.path} holds the backbone under several prefixes: {listed}. Say which "
                "with --prefix (of --init: --init_prefix)."
            )
    return first


def _take(module, place, tensors):
    """Load a module from a place; what to say of it."""
    state = module.state_dict()
    for name, value in state.items():
        there = place.names.get(name) or _counter(name, place.names)
        state[name] = tensors.get(there, value)
    module.load_state_dict(state)
    return f"taken from {place.prefix.removesuffix('.')}" if place.prefix else "taken"


def _counter(name, names):
    """Where a counter of batch normalisation is, if anywhere."""
    beside = names.get(name.replace("num_batches_tracked", "running_mean"), "")
    return beside.replace("running_mean", "num_batches_tracked")


def _take_head(module, tensors, backbone, predictor=False):
    """Load a head, or a predictor, from beside the backbone; (whether it was there, what to say of
    it)."""
    fits = [
        place
        for place in places(module, tensors)
        if place.fits
        and rank(place.prefix) == rank(backbone.prefix)
        and ("pred" in place.prefix) == predictor
    ]
    # Next to the backbone, and not of another network in the file.
    near = [_shared(place.prefix, backbone.prefix) for place in fits]
    nearest = [place for place, shared in zip(fits, near, strict=True) if shared == max(near)]
    if len(nearest) == 1:
        _take(module, nearest[0], tensors)
        return True, f"taken from {nearest[0].prefix.removesuffix('.')}"
    if nearest:
        several = ", ".join(place.prefix for place in nearest)
        return False, f"starts anew (several fit: {several})"
    beside = [name for name in tensors if name not in backbone.names.values() and HEAD.search(name)]
    return False, f"starts anew ({'it is another one there' if beside else 'none there'})"


def _shared(one, other):
    """How many parts two prefixes begin with alike."""
    pairs = zip(one.split("."), other.split("."), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _take_key(method, tensors, found, place):
    """Load the key encoder; what to say of it, and of its head."""
    follows = {1: 3, 2: 0}.get(rank(place.prefix))
    fits = [each for each in found if each.fits and rank(each.prefix) == follows]
    key = method.key_encoder
    if len(fits) != 1:
        key.load_state_dict(method.query_encoder.state_dict())
        return "a copy of the query encoder", ""
    said = _take(key.backbone, fits[0], tensors)
    taken, head = _take_head(key.projector, tensors, fits[0])
    if not taken:
        key.projector.load_state_dict(method.query_encoder.projector.state_dict())
        head = "a copy of the query encoder's"
    return said, head


def _take_queue(method, weights):
    queue = method.queue
    if weights.queue is not None and weights.queue.shape == queue.shape:
        queue.copy_(weights.queue)
        method.pointer = weights.pointer % len(queue)
        return "taken"
    there = None if weights.queue is None else tuple(weights.queue.shape)
    found = "none there" if there is None else f"{there} there, {tuple(queue.shape)} set"
    return f"starts anew ({found})"
