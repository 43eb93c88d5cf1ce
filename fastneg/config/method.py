"""Settings of pre-training: the method, its network, and options that several methods share."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from fastneg.config.assemble import Assembled
from fastneg.config.base import Config
from fastneg.methods import METHODS
from fastneg.options import ConfigError, option

TIMM = "timm:"
SMALL_VIEW = 64
"""Views of fewer pixels a side are small: a ResNet takes them with the small stem."""
RESNET = re.compile(r"(timm:)?(resnet|resnext|wide_resnet)\d+(_\d+x\d+d|_\d|_w\d+)?$")
"""Names of the ResNets that have the published stem."""
OWN = re.compile(r"([^:,]+\.py|[A-Za-z_]\w*(\.[A-Za-z_]\w*)*):[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")


def is_own(backbone: str) -> bool:
    """Whether a backbone's name is that of a user's own network."""
    return ":" in backbone and not backbone.startswith(TIMM)


def stem_of(backbone: str, image_size: int, stem: str = "auto") -> str:
    """What --stem auto stands for: small for a ResNet on views below 64 px, else standard."""
    if stem != "auto":
        return stem
    return "small" if image_size < SMALL_VIEW and RESNET.match(backbone) else "standard"


@dataclass(frozen=True)
class MethodPart(Config):
    method: str = "moco"
    backbone: str = "resnet50"
    """A torchvision classification model by name; timm:NAME; resnet_tiny or vgg_tiny (0.3 and 0.1 M
    parameters, for CPUs); resnet18_w16 (or another number of channels in the first stage, where
    resnet18 has 64); or your own network: package.module:factory or FILE.py:factory, which returns
    an nn.Module from images to features (N, F) or to a feature map, which is averaged."""
    stem: str = option("auto", choices=("auto", "small", "standard"))
    """The first layers of a ResNet or DenseNet. standard: 7×7, stride 2, max-pool. small: 3×3,
    stride 1, no max-pool, for small images. auto: small for a ResNet on views below 64 px,
    otherwise standard."""
    bn_splits: int | None = option(None, at_least=1, by=("bn", {"split": 4}))
    """Groups of the batch on each device with separate batch statistics (with --bn split)."""

    def _check(self):
        self._check_backbone()
        method = METHODS[self.method]
        if self.bn in ("split", "shuffle") and not method.shuffles_keys:
            able = " or ".join(name for name, one in METHODS.items() if one.shuffles_keys)
            raise ConfigError(
                f"--bn is {self.bn}, which has no effect with --method {self.method}: it separates "
                f"the batch statistics of keys and queries ({able} only)."
            )
        if self.key_pass == "batched" and (wherefore := self._not_batched()):
            raise ConfigError(f"--key_pass is batched, but {wherefore}: take separate.")
        method.check(self)

    def _not_batched(self):
        """Why keys and negatives cannot be groups of one pass; "" where they can."""
        if not self.image_kinds():
            return "there are no negatives" + " that are images" * bool(self.negative_kinds())
        if self.bn == "sync":
            return "--bn is sync, whose statistics are over whole passes"
        if self.negatives_bn == "joint":
            return "--negatives_bn is joint, which encodes them in one batch already"
        return ""

    def _check_backbone(self):
        name = self.backbone
        if not is_own(name):
            return
        if not OWN.match(name):
            raise ConfigError(
                f"--backbone is {name!r}: a torchvision model, timm:NAME, resnet_tiny, vgg_tiny, "
                "package.module:factory or FILE.py:factory was expected."
            )
        file, _, factory = name.rpartition(":")
        if file.endswith(".py") and not os.path.isabs(file):
            # Whoever reads the run later on may stand in another folder.
            object.__setattr__(self, "backbone", f"{os.path.abspath(file)}:{factory}")


def method_fields():
    """{name: `Assembled`} of --method and of the options of the methods.

    An option has the default of each method that takes it, and no effect under any other.
    """
    fields = {"method": Assembled(str, "moco", {"choices": tuple(METHODS)}, _about)}
    for name, declared in METHODS.options().items():
        bounds = {**declared.bounds, "by": ("method", declared.defaults)}
        doc = lambda name=name, declared=declared: declared.doc(name)
        fields[name] = Assembled(declared.kind | None, None, bounds, doc)
    return fields


def _about():
    return "; ".join(f"{name}: {method.about}" for name, method in METHODS.items()) + "."
