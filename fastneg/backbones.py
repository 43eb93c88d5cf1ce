"""Backbones by name: classification networks of torchvision or timm without their classifier, and a tiny one of ours.

Legend: N batch, F backbone features, H W pixels.
"""

from __future__ import annotations

import difflib

from torch import nn

from fastneg.config import ConfigError

TIMM = "timm:"
CLASSES = 1000
"""The classifier of a torchvision model is its one layer with so many outputs."""


def build_backbone(name, image_size=224):
    """A classification network without its classifier, with fresh weights: nothing is downloaded.

    Args:
        name: a torchvision model (resnet50, convnext_tiny, vit_b_16, …), timm:<a timm model>, or resnet_tiny.
        image_size: side in pixels of the images, which networks with a fixed number of tokens are built for; others take any.
    Returns:
        (module from (N, 3, H, W) to (N, F), F).
    Raises:
        ConfigError: no such model, timm is not installed, or the model cannot be built for images of this size.
    """
    if name == "resnet_tiny":
        return ResNetTiny(), ResNetTiny.features
    if name.startswith(TIMM):
        return _from_timm(name.removeprefix(TIMM), image_size)
    return _from_torchvision(name, image_size)


def _from_torchvision(name, image_size):
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise _unknown(name, [*known, "resnet_tiny"], "a torchvision classification model, timm:<name> or resnet_tiny")
    options = {}
    builder = models.get_model_builder(name)
    if name in ("googlenet", "inception_v3"):  # their training-time classifiers belong to supervised training
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
    path = [path for path, module in model.named_modules() if isinstance(module, nn.Linear) and module.out_features == CLASSES][-1]
    parent, _, attribute = path.rpartition(".")
    parent = model.get_submodule(parent)
    width = getattr(parent, attribute).in_features
    setattr(parent, attribute, nn.Identity())
    return model, width


def _from_timm(name, image_size):
    try:
        import timm
    except ImportError as error:
        raise ConfigError(f"--backbone is {TIMM}{name}, but timm is not installed: pip install 'fastneg[timm]'.") from error
    if not timm.is_model(name):
        raise _unknown(TIMM + name, [TIMM + each for each in timm.list_models()], "a timm model (without its tag of weights)")
    options = {"pretrained": False, "num_classes": 0}
    settings = timm.models.get_pretrained_cfg(name)
    if settings is not None and settings.fixed_input_size:
        options["img_size"] = image_size
    model = _built(TIMM + name, image_size, lambda: timm.create_model(name, **options))
    return model, getattr(model, "head_hidden_size", None) or model.num_features


def _built(name, image_size, build):
    """A model; what its library objects to is told as a mistake in the settings."""
    try:
        return build()
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise ConfigError(f"--backbone {name} cannot be built for --image_size {image_size}: {error}") from error


def _unknown(name, known, expected):
    near = difflib.get_close_matches(name, known, 3)
    return ConfigError(f"There is no backbone {name!r}: {expected} was expected" + (f"; near it: {', '.join(near)}." if near else "."))


def batch_norms(module):
    """How many layers of batch normalisation a module has."""
    return sum(isinstance(child, nn.modules.batchnorm._BatchNorm) for child in module.modules())


class ResNetTiny(nn.Module):
    """Three residual blocks of 32, 64 and 128 channels, 0.3 M parameters: for images of 32 to 64 px, trained in minutes on a CPU."""

    features = 128

    def __init__(self):
        super().__init__()
        from torchvision.models.resnet import BasicBlock

        def block(before, after):
            shortcut = nn.Sequential(nn.Conv2d(before, after, 1, 2, bias=False), nn.BatchNorm2d(after))
            return BasicBlock(before, after, 2, shortcut)

        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True))
        self.blocks = nn.Sequential(BasicBlock(32, 32), block(32, 64), block(64, 128))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images):
        return self.blocks(self.stem(images)).mean((2, 3))
