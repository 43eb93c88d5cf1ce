"""Backbones of torchvision and timm by name, without their classifier."""

import sys

import pytest
import torch
from torch import nn

from fastneg.config import ConfigError
from fastneg.models.backbones import build_backbone
from fastneg.models.batch_norm import batch_norms


@pytest.mark.parametrize(
    ("name", "side", "width", "norms"),
    [
        ("resnet18", 64, 512, 20),
        ("resnet_tiny", 32, 128, 9),
        ("vgg_tiny", 32, 128, 6),
        ("mobilenet_v3_small", 64, 1024, 34),
        ("squeezenet1_1", 64, 512, 0),
        ("alexnet", 64, 4096, 0),
        ("googlenet", 64, 1024, 57),
        ("vit_b_32", 64, 768, 0),
        ("swin_t", 64, 768, 0),
    ],
)
def test_torchvision_backbones(name, side, width, norms):
    backbone, features = build_backbone(name, side)
    assert features == width and batch_norms(backbone) == norms
    assert backbone.train()(torch.randn(2, 3, side, side)).shape == (2, width)
    assert not [
        module
        for module in backbone.modules()
        if isinstance(module, nn.Linear) and module.out_features == 1000
    ]


@pytest.mark.parametrize(
    ("name", "side", "width", "norms"),
    [
        ("resnet18", 64, 512, 20),
        ("convnext_atto", 64, 320, 0),
        ("vit_tiny_patch16_224", 64, 192, 0),
        ("mobilenetv3_small_050", 64, 1024, 34),
        ("vgg11", 64, 4096, 0),
    ],
)
def test_timm_backbones(name, side, width, norms):
    pytest.importorskip("timm")
    backbone, features = build_backbone(f"timm:{name}", side)
    assert features == width and batch_norms(backbone) == norms
    assert backbone.eval()(torch.randn(2, 3, side, side)).shape == (2, width)


def test_resnet18_is_torchvisions_without_its_classifier():
    from torchvision.models import resnet18

    ours, theirs = build_backbone("resnet18")[0].eval(), resnet18().eval()
    theirs.load_state_dict(
        {**ours.state_dict(), "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    )
    theirs.fc = nn.Identity()
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(ours(images), theirs(images))


def test_timms_resnet18_is_torchvisions():
    """Two libraries, one network: with the same weights they agree."""
    pytest.importorskip("timm")
    ours, theirs = build_backbone("timm:resnet18")[0].eval(), build_backbone("resnet18")[0].eval()
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "side", "said"),
    [
        ("resnet5O", 224, "did you mean resnet50"),
        ("timm:resnet5O", 224, "did you mean timm:resnet50"),
        ("fcn_resnet50", 224, "torchvision classification model"),
        ("vit_b_16", 100, "cannot be built for --image_size 100"),
        ("maxvit_t", 64, "cannot be built for --image_size 64"),
    ],
)
def test_a_backbone_that_cannot_be(name, side, said):
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    with pytest.raises(ConfigError, match=said):
        build_backbone(name, side)


def test_without_timm_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match=r"pip install 'fastneg\[timm\]'"):
        build_backbone("timm:convnext_tiny")
