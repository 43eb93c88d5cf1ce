"""Weights of other projects: read theirs into a method, write ours for them.

Legend: D feature dimension, K queue.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from fastneg.counts import counted
from fastneg.errors import WeightsError
from fastneg.files import remove_stale, write_atomically
from fastneg.models.torch_files import UnreadableError, load_file, not_finite
from fastneg.version import __version__

FORMATS = ("torchvision", "timm", "moco", "safetensors")
HEADS = {
    "0.weight": "fc.0.weight",
    "0.bias": "fc.0.bias",
    "2.weight": "fc.2.weight",
    "2.bias": "fc.2.bias",
}
"""MoCo v2's MLP head: our names of its tensors and MoCo's."""


@dataclass(frozen=True)
class Weights:
    """What a foreign file holds, in its own names less the prefixes of wrappers."""

    origin: str
    """Where it comes from, in words."""
    encoder: dict[str, torch.Tensor]
    """The query encoder: backbone, and the head where there is one."""
    key_encoder: dict[str, torch.Tensor] = field(default_factory=dict)
    queue: torch.Tensor | None = None
    """(K, D)."""
    pointer: int = 0


def read_weights(path):
    """Read a checkpoint of the MoCo family, or a state dict of torchvision or timm (.pth, .pt, .bin
    or .safetensors).

    Raises:
        WeightsError: the file cannot be read without running code, holds none of these, or holds
            values that are not finite.
    """
    path = Path(path)
    content = _load(path)
    keys = content.keys()
    for wrapper in ("state_dict", "model"):
        if isinstance(content.get(wrapper), dict):
            content = content[wrapper]
            break
    tensors = {
        name.removeprefix("module."): value
        for name, value in content.items()
        if isinstance(value, torch.Tensor) and isinstance(name, str)
    }
    if not tensors:
        held = ", ".join(repr(key) for key in list(keys)[:5]) or "nothing"
        raise WeightsError(
            f"{path} holds no weights (but {held}): a state dict, alone or under 'state_dict' or "
            "'model', was expected. Of a run of fastneg, take what fastneg export writes."
        )
    if bad := not_finite(tensors):
        raise WeightsError(
            f"{path} holds values that are not finite in {len(bad)} of "
            f"{counted(len(tensors), 'tensor')} (first: {bad[0]}): the network broke down "
            "when it was trained, or the file is damaged. Take an earlier checkpoint of it."
        )
    query = _below(tensors, "encoder_q.")
    if not query:
        return Weights("a state dict", tensors)
    queue, pointer = tensors.get("queue"), tensors.get("queue_ptr")
    if queue is not None and (queue.ndim != 2 or (pointer is not None and pointer.numel() != 1)):
        raise WeightsError(
            f"{path} has a queue of {tuple(queue.shape)}: (D, K) and one pointer were expected."
        )
    return Weights(
        "a checkpoint of the MoCo family",
        query,
        _below(tensors, "encoder_k."),
        None if queue is None else queue.t().contiguous(),
        0 if pointer is None else int(pointer),
    )


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


def _safetensors():
    try:
        import safetensors.torch
    except ImportError as error:
        raise WeightsError(
            "The package safetensors is not installed: pip install safetensors."
        ) from error
    return safetensors.torch


def _below(tensors, prefix):
    return {
        name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)
    }


def load_into(method, weights):
    """Put foreign weights into a method, in place.

    The backbone must fit tensor by tensor. Its head, key encoder and queue are taken where they are
    there and fit; otherwise the key encoder starts as a copy of the query encoder, and head and
    queue stay as they were made.

    Args:
        method: a module with `query_encoder`, and with `key_encoder` and `queue` where it has them.
        weights: `Weights`.
    Returns:
        list of lines that say what was taken and what was not.
    Raises:
        WeightsError: the backbone does not fit.
    """
    said = [
        f"Weights of {weights.origin}:",
        _load_backbone(method.query_encoder.backbone, weights.encoder),
    ]
    said.append(_load_head(method.query_encoder.projector, weights.encoder))
    key = getattr(method, "key_encoder", None)
    if key is not None:
        if weights.key_encoder:
            _load_backbone(key.backbone, weights.key_encoder)
            _load_head(key.projector, weights.key_encoder)
            said.append("  key encoder: taken")
        else:
            key.load_state_dict(method.query_encoder.state_dict())
            said.append("  key encoder: a copy of the query encoder")
    queue = getattr(method, "queue", None)
    if queue is not None:
        fits = weights.queue is not None and weights.queue.shape == queue.shape
        if fits:
            queue.copy_(weights.queue)
            method.pointer = weights.pointer % len(queue)
        found = (
            "none there"
            if weights.queue is None
            else f"{tuple(weights.queue.shape)} there, {tuple(queue.shape)} set"
        )
        said.append(f"  queue: {'taken' if fits else f'starts anew ({found})'}")
    return said


def _load_backbone(backbone, tensors):
    wanted = backbone.state_dict()
    extra = [name for name in tensors if name not in wanted and not _is_classifier(backbone, name)]
    # Checkpoints from before PyTorch 0.4.1 lack the batch counters, which nothing here reads.
    missing = [
        name for name in wanted if name not in tensors and not name.endswith("num_batches_tracked")
    ]
    unlike = [
        name for name in wanted if name in tensors and tensors[name].shape != wanted[name].shape
    ]
    if extra or missing or unlike:
        name = (unlike or missing or extra)[0]
        shapes = (
            f"; {name} is {tuple(tensors[name].shape)}, {tuple(wanted[name].shape)} was expected"
            if unlike
            else ""
        )
        raise WeightsError(
            f"The weights do not fit the backbone: {counted(len(missing), 'tensor')} missing, "
            f"{len(extra)} unknown, {len(unlike)} of another shape (first: {name}){shapes}. Name "
            "the network they are of with --backbone, and a ViT's --image_size."
        )
    backbone.load_state_dict({name: tensors.get(name, wanted[name]) for name in wanted})
    return f"  backbone: {counted(len(wanted), 'tensor')} taken"


def _is_classifier(backbone, name):
    """Whether a tensor belongs to the place where the backbone's classifier was."""
    while "." in name:
        name = name.rpartition(".")[0]
        try:
            return isinstance(backbone.get_submodule(name), nn.Identity)
        except AttributeError:
            continue
    return False


def _load_head(projector, tensors):
    wanted = projector.state_dict()
    found = {ours: tensors[theirs] for ours, theirs in HEADS.items() if theirs in tensors}
    if found.keys() == wanted.keys() and all(
        found[name].shape == wanted[name].shape for name in wanted
    ):
        projector.load_state_dict(found)
        return "  head: taken"
    return (
        "  head: starts anew ("
        + ("it is another one there" if found or "fc.weight" in tensors else "none there")
        + ")"
    )


def export_weights(method_state, config, kind, out):
    """Write a run's weights for other projects.

    Args:
        method_state: the state dict of the run's method.
        config: its PretrainConfig.
        kind: "torchvision" or "timm": the backbone as a state dict of torchvision or of timm,
            without classifier; "safetensors": the same in that format, with the backbone's name as
            metadata; "moco": both encoders and the (D, K) queue, as the MoCo family saves them.
        out: the file to write; whole or absent.
    Raises:
        WeightsError: the backbone has no counterpart there, or the method has no queue for "moco".
    """
    backbone = {
        name: value.contiguous()
        for name, value in _below(method_state, "query_encoder.backbone.").items()
    }
    architecture = config.backbone.removeprefix("timm:")
    if kind in ("torchvision", "timm"):
        own = "timm" if config.backbone.startswith("timm:") else "torchvision"
        # The ResNets of both name their tensors alike; other families do not.
        if config.backbone == "resnet_tiny" or (
            own != kind and not architecture.startswith("resnet")
        ):
            raise WeightsError(
                f"The backbone {config.backbone} has no counterpart with these tensors in {kind}: "
                "take --format safetensors."
            )
        content = backbone
    elif kind == "moco":
        content = {
            "epoch": config.epochs,
            "arch": architecture,
            "state_dict": _moco_state(method_state, config),
        }
    elif kind == "safetensors":
        metadata = {"format": "pt", "backbone": config.backbone, "writer": f"fastneg {__version__}"}
        metadata |= {name: json.dumps(getattr(config, name)) for name in ("mean", "std")}
        metadata["config"] = json.dumps(config.as_dict())
        data = _safetensors().save(backbone, metadata)
        return _write(out, lambda file: file.write(data))
    else:
        raise ValueError(f"kind is {kind!r}: one of {', '.join(FORMATS)} was expected.")
    return _write(out, lambda file: torch.save(content, file))


def _write(out, write):
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    remove_stale(out)
    write_atomically(out, write)


def _moco_state(state, config):
    theirs = (
        config.backbone.startswith(("resnet", "resnext", "wide_resnet"))
        and config.backbone != "resnet_tiny"
    )
    if "queue" not in state or not theirs:
        raise WeightsError(
            "A checkpoint of the MoCo family holds a torchvision ResNet with a queue; this run "
            f"has method {config.method}, backbone {config.backbone}: take --format torchvision "
            "or safetensors."
        )
    content = {}
    for ours, theirs in (("query_encoder", "encoder_q"), ("key_encoder", "encoder_k")):
        content |= {
            f"module.{theirs}.{name}": value
            for name, value in _below(state, f"{ours}.backbone.").items()
        }
        content |= {
            f"module.{theirs}.{HEADS[name]}": value
            for name, value in _below(state, f"{ours}.projector.").items()
        }
    pointer = state["_extra_state"]["pointer"]
    return content | {
        "module.queue": state["queue"].t().contiguous(),
        "module.queue_ptr": torch.tensor([pointer]),
    }
