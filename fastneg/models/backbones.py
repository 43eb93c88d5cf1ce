"""Backbones by name: classification networks of torchvision or timm without their classifier, a
tiny one of ours, and networks of a user's own.

Legend: N batch, F backbone features, H W pixels.
"""

from __future__ import annotations

import torch
from torch import nn

from fastneg.config import ConfigError, UnfitError
from fastneg.config.method import TIMM, is_own, stem_of
from fastneg.errors import SettingsError
from fastneg.models.own_networks import own_network
from fastneg.models.own_outputs import images_of, in_eval_mode
from fastneg.models.small_networks import is_narrow, narrow_resnet, put, small_stem
from fastneg.options import nearest

CLASSES = 1000
"""The classifier of a torchvision model is its one layer with so many outputs."""


def backbone_of(config):
    """`build_backbone` of what a `PretrainConfig` says."""
    return build_backbone(config.backbone, config.image_size, config.stem)


def build_backbone(name, image_size=224, stem="auto"):
    """A classification network without its classifier, with fresh weights: nothing is downloaded.

    What a person should be told of it stands in its `told`, a list of lines.

    Args:
        name: a torchvision model (resnet50, convnext_tiny, vit_b_16, …), timm:<a timm model>,
            resnet_tiny, vgg_tiny, resnet18_w<channels> as `narrow_resnet` takes it, or an own
            network as `own_network` takes it.
        image_size: side in pixels of the images, which networks with a fixed number of tokens are
            built for; others take any.
        stem: as of --stem.
    Returns:
        (module from (N, 3, H, W) to (N, F), F).
    Raises:
        ConfigError: no such model, timm is not installed, or the model cannot be built for images
            of this size or does not take them, or with this stem.
    """
    if is_own(name):
        model, width = own_network(name, image_size)
    elif name in TINY:
        model, width = TINY[name](), TINY[name].features
    elif name.startswith(TIMM):
        model, width = _from_timm(name.removeprefix(TIMM), image_size)
    elif is_narrow(name):
        model, width = narrow_resnet(name)
    else:
        model, width = _from_torchvision(name, image_size)
    model.told = getattr(model, "told", [])
    if stem_of(name, image_size, stem) == "small":
        small_stem(model, name)
        why = f"because views of {image_size} px are small; --stem standard keeps 7×7, stride 2"
        model.told += [
            f"{name} has the small stem, 3×3 with stride 1 and no max-pool"
            + (f" ({why})." if stem == "auto" else ".")
        ]
    if objection := refuses(model, image_size):
        least = _least_side(model, image_size)
        hint = f"take {least} px or more" if least else "take another size, or another backbone"
        raise ConfigError(
            f"--backbone {name} does not take images of {image_size} px (--image_size): "
            f"{objection} {hint}."
        )
    return model, width


@torch.no_grad()
def refuses(backbone, side):
    """Why a backbone on the CPU cannot take square images of `side` pixels, in words that end with
    a colon; None where it can.

    One image goes through it in eval mode. Nothing of the backbone changes, and nothing random is
    drawn.
    """
    empty = []

    def look(module, _, out):
        if isinstance(out, torch.Tensor) and not out.numel():
            empty.append(type(module).__name__)

    hooks = [module.register_forward_hook(look) for module in backbone.modules()]
    try:
        with in_eval_mode(backbone):
            out = backbone(images_of(side))
    except (AssertionError, RuntimeError, ValueError) as error:
        return (
            f"{str(error).splitlines()[0].rstrip('.:')}:"
            if str(error)
            else f"it raises {type(error).__name__}:"
        )
    finally:
        for hook in hooks:
            hook.remove()
    if empty:
        return f"their feature maps are empty after its {empty[0]}:"
    return None if out.isfinite().all() else "their features are not finite:"


def check_view_sizes(backbone, config):
    """SettingsError if a stage of --image_size_schedule has views that the backbone does not take.

    Views of --image_size itself are not tried: `build_backbone` has done so.
    """
    for size in sorted({size for _, size in config.view_sizes()} - {config.image_size}):
        if objection := refuses(backbone, size):
            raise SettingsError(
                f"--image_size_schedule has views of {size} px, but {config.backbone}, built for "
                f"--image_size {config.image_size}, does not take them: {objection} take another "
                "size."
            )


def _least_side(model, refused, most=224):
    """The smallest side above `refused` that a model takes, found by halving; None where it takes
    none up to `most`."""
    if refused >= most or refuses(model, most):
        return None
    least = most
    while least - refused > 1:
        middle = (least + refused) // 2
        least, refused = (least, middle) if refuses(model, middle) else (middle, refused)
    return least


def _from_torchvision(name, image_size):
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise _unknown(
            name,
            [*known, *TINY, "resnet18_w16"],
            "a torchvision classification model, timm:<name>, resnet_tiny, vgg_tiny, "
            "resnet18_w16, or an own network (package.module:factory, FILE.py:factory)",
        )
    options = {}
    builder = models.get_model_builder(name)
    # their training-time classifiers belong to supervised training
    if name in ("googlenet", "inception_v3"):
        options = {"aux_logits": False, "init_weights": True}
    elif name.startswith("vit_"):
        options = {"image_size": image_size}
    elif name.startswith("maxvit_"):
        options = {"input_size": (image_size, image_size)}
    model = _built(name, image_size, lambda: builder(weights=None, **options))
    if name.startswith("squeezenet"):  # its classifier is a convolution before the pooling
        model.classifier = nn.AdaptiveAvgPool2d(1)
        return model, model.features[-1].expand3x3.out_channels * 2
    # The last one, for VGG and AlexNet end in several linear layers.
    path = [
        path
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear) and module.out_features == CLASSES
    ][-1]
    width = model.get_submodule(path).in_features
    put(model, path, nn.Identity())
    return model, width


def timm_settings(name):
    """timm's `pretrained_cfg` of a network, timm:<a timm model> or, with the tag of its weights,
    timm:<model>.<tag>: its input size, mean, deviation and so on; None where there is none.

    Raises:
        ConfigError: timm is not installed, or knows no such model or tag.
    """
    if not name.startswith(TIMM):
        return None
    timm, known = _timm(name), name.removeprefix(TIMM)
    model, _, tag = known.partition(".")
    tags = [each.partition(".")[2] for each in timm.list_pretrained(f"{model}.*") if tag]
    if tag and tag not in tags:
        near = f"{model}." + f", {model}.".join(tags) if tags else "none with weights"
        raise ConfigError(f"timm knows no weights {known}; of {model} it knows {near}.")
    return timm.models.get_pretrained_cfg(known)


def _timm(name):
    """The package, if it is there and knows the model."""
    try:
        import timm
    except ImportError as error:
        raise UnfitError(
            f"--backbone is {name}, but timm is not installed: pip install 'fastneg[timm]'."
        ) from error
    if not timm.is_model(name.removeprefix(TIMM)):
        raise _unknown(name, [TIMM + each for each in timm.list_models()], "a timm model")
    return timm


def _from_timm(name, image_size):
    model = _timm_model(name, image_size, 0)
    return model, getattr(model, "head_hidden_size", None) or model.num_features


def _timm_model(name, image_size, classes):
    timm = _timm(TIMM + name)
    options = {"pretrained": False, "num_classes": classes}
    settings = timm_settings(TIMM + name)
    if settings is not None and settings.fixed_input_size:
        options["img_size"] = image_size
    return _built(TIMM + name, image_size, lambda: timm.create_model(name, **options))


def whole_network(config, classes):
    """(timm's network with its classifier, that classifier) of a `PretrainConfig` and so many
    classes; None where it is no linear layer, or the backbone is not timm's."""
    if not config.backbone.startswith(TIMM):
        return None
    name = config.backbone.removeprefix(TIMM)
    model = _timm_model(name, config.image_size, classes)
    if stem_of(config.backbone, config.image_size, config.stem) == "small":
        small_stem(model, name)
    layer = model.get_classifier()
    return (model, layer) if isinstance(layer, (nn.Linear, nn.Conv2d)) else None


def _built(name, image_size, build):
    """A model; what its library objects to is told as a mistake in the settings."""
    try:
        return build()
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise ConfigError(
            f"--backbone {name} cannot be built for --image_size {image_size}: {error}"
        ) from error


def _unknown(name, known, expected):
    return ConfigError(
        f"There is no backbone {name!r}: {expected} was expected{nearest(name, known)}"
    )


class ResNetTiny(nn.Module):
    """Three residual blocks of 32, 64 and 128 channels, 0.3 M parameters: for images of 32 to 64
    px, trained in minutes on a CPU."""

    features = 128

    def __init__(self):
        super().__init__()
        from torchvision.models.resnet import BasicBlock

        def block(before, after):
            shortcut = nn.Sequential(
                nn.Conv2d(before, after, 1, 2, bias=False), nn.BatchNorm2d(after)
            )
            return BasicBlock(before, after, 2, shortcut)

        self.stem = nn.Sequential(
            nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True)
        )
        self.blocks = nn.Sequential(BasicBlock(32, 32), block(32, 64), block(64, 128))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images):
        return self.blocks(self.stem(images)).mean((2, 3))


class VGGTiny(nn.Module):
    """Six convolutions of 16 to 128 channels, each batch-normalised, 0.14 M parameters: for images
    of 32 px, where both passes take a CPU about a quarter of `resnet_tiny`'s time."""

    features = 128
    layers = ((16, 2), (32, 2), (32, 1), (64, 2), (64, 1), (128, 1))
    """(channels, stride) of each convolution."""

    def __init__(self):
        super().__init__()
        made, before = [], 3
        for channels, stride in self.layers:
            convolution = nn.Conv2d(before, channels, 3, stride, 1, bias=False)
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
            made += [convolution, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
            before = channels
        self.body = nn.Sequential(*made)

    def forward(self, images):
        return self.body(images).mean((2, 3))


TINY = {"resnet_tiny": ResNetTiny, "vgg_tiny": VGGTiny}
"""{name: network of ours, which no other project has}"""
