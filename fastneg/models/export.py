"""Writes a run's weights in the formats of other projects.

Legend: N batch, F features, D feature dimension, K queue, H W pixels.
"""

from __future__ import annotations

import importlib.util
import json
import math
import warnings
from pathlib import Path

import torch

from fastneg.config import ConfigError, PretrainConfig, UnfitError
from fastneg.config.method import RESNET, TIMM, is_own, stem_of
from fastneg.errors import WeightsError, WeightsOptionError
from fastneg.files import remove_stale, write_atomically, write_json
from fastneg.models.backbones import TINY, backbone_of, timm_settings
from fastneg.models.own_outputs import images_of
from fastneg.models.small_networks import is_narrow
from fastneg.version import __version__

HEADS = {
    "0.weight": "fc.0.weight",
    "0.bias": "fc.0.bias",
    "2.weight": "fc.2.weight",
    "2.bias": "fc.2.bias",
}
"""MoCo v2's MLP head: our names of its tensors and MoCo's."""


FORMATS = ("torchvision", "timm", "moco", "safetensors", "huggingface", "onnx")
OPSET = 18
CLOSE = 1e-3
"""How far ONNX Runtime's features may be from torch's, as a share of their largest."""

HUGGINGFACE = ("config.json", "model.safetensors")
"""The files of a Hugging Face folder."""


def export_weights(
    method_state: dict[str, torch.Tensor], config: PretrainConfig, kind: str, out: str | Path
) -> list[str]:
    """Write a run's weights for other projects.

    Args:
        method_state: the state dict of the run's method.
        config: its PretrainConfig.
        kind: "torchvision" or "timm": the backbone as a state dict of torchvision or of timm,
            without classifier; "safetensors": the same in that format, with the backbone's name as
            metadata; "huggingface": a folder of config.json and model.safetensors, as timm reads it
            (`timm.create_model("local-dir:OUT", pretrained=True)`) and as the Hugging Face Hub has
            it; "onnx": the backbone as a program, images (N, 3, H, W) to features (N, F); "moco":
            both encoders and the (D, K) queue, as the MoCo family saves them.
        out: the file to write, or of "huggingface" the folder; each file whole or absent.
    Returns:
        lines that say what was checked.
    Raises:
        WeightsError: the backbone has no counterpart there, or the method has no queue for "moco".
    """
    if kind not in FORMATS:
        raise ValueError(f"kind is {kind!r}: one of {', '.join(FORMATS)} was expected.")
    if kind in ("torchvision", "timm", "huggingface"):
        _refuse_without_counterpart(config, kind)
    # Cloned: safetensors takes no two tensors of the same memory, as tied weights are.
    backbone = {
        name: value.contiguous().clone()
        for name, value in _below(method_state, "query_encoder.backbone.").items()
    }
    if kind == "onnx":
        return _write_onnx(backbone, config, out)
    if kind == "huggingface":
        return _write_folder(backbone, config, Path(out))
    if kind == "safetensors":
        data = _safetensors().save(backbone, _metadata(config))
        _write(out, lambda file: file.write(data))
        return []
    content = backbone
    if kind == "moco":
        state = _moco_state(method_state, config)
        content = {"epoch": config.epochs, "arch": _architecture(config), "state_dict": state}
    _write(out, lambda file: torch.save(content, file))
    return []


def _refuse_without_counterpart(config, kind):
    wanted = "torchvision" if kind == "torchvision" else "timm"
    own = "timm" if config.backbone.startswith(TIMM) else "torchvision"
    # The ResNets of both name their tensors alike; other families do not.
    alike = own == wanted or RESNET.match(config.backbone)
    small = stem_of(config.backbone, config.image_size, config.stem) == "small"
    ours = config.backbone in TINY or is_narrow(config.backbone)
    if ours or is_own(config.backbone) or small or not alike:
        stem = " with the small stem" if small else ""
        raise WeightsOptionError(
            f"The backbone {config.backbone}{stem} has no counterpart with these tensors in "
            f"{wanted}: take --format safetensors or onnx."
        )


def _architecture(config):
    return config.backbone.removeprefix(TIMM)


def _metadata(config):
    """{name: text} of what goes with the weights."""
    told = {"format": "pt", "backbone": str(config.backbone), "writer": f"fastneg {__version__}"}
    told |= {name: json.dumps(getattr(config, name)) for name in ("mean", "std")}
    return told | {"config": json.dumps(config.as_dict())}


def _write_folder(backbone, config, out):
    data = _safetensors().save(backbone, _metadata(config))
    architecture = _architecture(config).partition(".")[0]
    resize = config.eval_resize or round(config.image_size * 256 / 224)
    settings = {
        "architecture": architecture,
        "num_classes": 0,
        "num_features": feature_dim(config),
        "pretrained_cfg": {
            "tag": "fastneg",
            "custom_load": False,
            "input_size": [3, config.image_size, config.image_size],
            "fixed_input_size": False,
            "interpolation": config.eval_interpolation,
            "crop_pct": _crop_share(config.image_size, resize),
            "crop_mode": "center",
            "mean": list(config.mean),
            "std": list(config.std),
            "num_classes": 0,
        },
    }
    known = timm_settings(TIMM + architecture) if _has_timm() else None
    if known is not None:
        made = settings["pretrained_cfg"]
        made["fixed_input_size"] = known.fixed_input_size
        made |= {name: getattr(known, name) for name in ("first_conv", "classifier")}
        if known.fixed_input_size:
            settings["model_args"] = {"img_size": config.image_size}
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / HUGGINGFACE[0], settings)
    _write(out / HUGGINGFACE[1], lambda file: file.write(data))
    return [f'  timm.create_model("local-dir:{out}", pretrained=True) reads it.']


def _crop_share(side, resize):
    """The share of the resized image that is cut out, of which timm gets the resize again:
    floor(side / share)."""
    share = side / resize
    # rounding would lose a pixel: of 192 and 225 px
    return share if math.floor(side / share) == resize else math.nextafter(share, 0)


def _has_timm():
    return importlib.util.find_spec("timm") is not None


def feature_dim(config):
    """F of a run's backbone."""
    return backbone_of(config)[1]


def _write_onnx(weights, config, out):
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise WeightsError(
            "--format onnx needs the packages onnx and onnxscript: pip install 'fastneg[onnx]'."
        ) from error
    try:
        network, _ = backbone_of(config)
    except ConfigError as error:  # an own network of which there is no factory any more
        raise UnfitError(f"--format onnx needs the network itself: {error}") from error
    network.load_state_dict(weights)
    network.eval().requires_grad_(False)
    images = images_of(config.image_size, 3)
    try:
        with warnings.catch_warnings():  # of the exporter's own parts
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                network,
                (images,),
                input_names=["images"],
                output_names=["features"],
                opset_version=OPSET,
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                verbose=False,
            )
    except Exception as error:  # whatever the exporter meets in a network
        raise WeightsError(
            f"torch.onnx cannot export {config.backbone}: {str(error).strip().splitlines()[0]}"
        ) from error
    model = program.model_proto
    for name, value in _metadata(config).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = name, value
    data = model.SerializeToString()
    said = _checked(network, data)
    _write(out, lambda file: file.write(data))
    return said


def _checked(network, data):
    """Compare ONNX Runtime's features with torch's, on other images and another batch size."""
    try:
        import onnxruntime
    except ImportError:
        return ["  not checked against torch: pip install onnxruntime for that."]
    runtime = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    side = runtime.get_inputs()[0].shape[-1]
    images = images_of(side, 2).flip(0, 3).contiguous()
    with torch.no_grad():
        expected = network(images)
    found = torch.from_numpy(runtime.run(None, {"images": images.numpy()})[0])
    apart = ((found - expected).abs().max() / expected.abs().max()).item()
    if not apart < CLOSE:
        raise WeightsError(
            f"ONNX Runtime gives features that are {apart:.1e} of their largest from torch's: "
            "nothing was written."
        )
    return [f"  checked: ONNX Runtime's features are within {apart:.1e} of torch's."]


def _below(tensors, prefix):
    return {
        name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)
    }


def _safetensors():
    try:
        import safetensors.torch
    except ImportError as error:
        raise WeightsError(
            "The package safetensors is not installed: pip install safetensors."
        ) from error
    return safetensors.torch


def _write(out, write):
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    remove_stale(out)
    write_atomically(out, write)


def _moco_state(state, config):
    theirs = RESNET.match(config.backbone) and not config.backbone.startswith(TIMM)
    small = stem_of(config.backbone, config.image_size, config.stem) == "small"
    if "queue" not in state or not theirs or small:
        raise WeightsOptionError(
            "A checkpoint of the MoCo family holds a torchvision ResNet with a queue; this run "
            f"has method {config.method}, backbone {config.backbone}: take --format safetensors."
        )
    content = {}
    for ours, name_there in (("query_encoder", "encoder_q"), ("key_encoder", "encoder_k")):
        content |= {
            f"module.{name_there}.{name}": value
            for name, value in _below(state, f"{ours}.backbone.").items()
        }
        content |= {
            f"module.{name_there}.{HEADS[name]}": value
            for name, value in _below(state, f"{ours}.projector.").items()
        }
    pointer = state["_extra_state"]["pointer"]
    return content | {
        "module.queue": state["queue"].t().contiguous(),
        "module.queue_ptr": torch.tensor([pointer]),
    }
