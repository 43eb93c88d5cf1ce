"""Narrow ResNets are torchvision's with other numbers of channels; the small stem keeps the pixels
of small images."""

import pytest
import torch
from torch import nn

from fastneg.config import ConfigError, PretrainConfig
from fastneg.errors import WeightsError
from fastneg.models.backbones import build_backbone
from fastneg.models.export import export_weights
from fastneg.models.fused_norms import fuse
from fastneg.models.small_networks import small_stem


@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
def test_with_64_channels_it_is_the_published_one(name):
    plain, width = build_backbone(name, 64)
    narrow, same = build_backbone(f"{name}_w64", 64)
    assert same == width == 512
    narrow.load_state_dict(plain.state_dict())
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(narrow.eval()(images), plain.eval()(images))


def test_every_layer_has_its_share_of_the_channels_and_fresh_weights_of_the_same_kind():
    torch.manual_seed(0)
    plain, narrow = build_backbone("resnet18", 64)[0], build_backbone("resnet18_w16", 64)[0]
    assert narrow(torch.randn(2, 3, 64, 64)).shape == (2, 128)
    for one, other in zip(plain.modules(), narrow.modules(), strict=True):
        if isinstance(one, nn.Conv2d):
            assert other.out_channels * 4 == one.out_channels
            assert (other.kernel_size, other.stride, other.padding) == (
                (one.kernel_size, one.stride, one.padding)
            )
            deviation = (2 / (other.out_channels * other.kernel_size[0] ** 2)) ** 0.5
            assert other.weight.std().item() == pytest.approx(deviation, rel=0.15)
        elif isinstance(one, nn.BatchNorm2d):
            assert other.num_features * 4 == one.num_features
    assert fuse(narrow) == fuse(plain)


def test_small_views_have_the_small_stem():
    network, _ = build_backbone("resnet18_w8", 32)
    assert network.conv1.kernel_size == (3, 3) and network.conv1.out_channels == 8
    assert "small stem" in network.told[0]


def test_what_cannot_be_is_refused(tmp_path):
    for name in ("resnet18_w0", "resnet18_w4096"):
        with pytest.raises(ConfigError, match="1 to 512 channels"):
            build_backbone(name)
    with pytest.raises(ConfigError, match="did you mean resnet18_w16"):
        build_backbone("resnet50_w16")
    config = PretrainConfig(backbone="resnet18_w16", image_size=64)
    for kind in ("torchvision", "timm", "huggingface"):
        with pytest.raises(WeightsError, match="no counterpart"):
            export_weights({}, config, kind, tmp_path / "w.pth")


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "timm:resnet18"])
def test_the_first_layers_no_longer_shrink_the_image(name):
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    standard, _ = build_backbone(name, 64, "standard")
    small, width = build_backbone(name, 64, "small")
    paths = "features.conv0" if name == "densenet121" else "conv1"
    first = small.get_submodule(paths)
    assert (first.kernel_size, first.stride, first.padding) == ((3, 3), (1, 1), (1, 1))
    assert first.out_channels == standard.get_submodule(paths).out_channels
    sides = [[], []]
    for network, seen in zip((standard, small), sides, strict=True):
        network.register_module("last", nn.Identity())
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(
                    lambda _, __, out, seen=seen: seen.append(out.shape[2])
                )
        assert network.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, width)
    assert sides[1][0] == 64 and sides[0][0] == 32
    assert sides[1][-1] == 4 * sides[0][-1]


def test_it_is_the_default_for_resnets_on_small_views_and_said():
    network, _ = build_backbone("resnet18", 32)
    assert network.conv1.kernel_size == (3, 3) and "--stem standard keeps 7×7" in network.told[0]
    for name, side, stem in (("resnet18", 64, "auto"), ("resnet18", 32, "standard")):
        network, _ = build_backbone(name, side, stem)
        assert network.conv1.kernel_size == (7, 7) and not network.told


def test_a_network_without_such_a_stem_is_refused():
    with pytest.raises(
        ConfigError, match="--stem is small, but vit_b_32 does not begin with a 7×7"
    ):
        build_backbone("vit_b_32", 32, "small")
    with pytest.raises(ConfigError):
        small_stem(nn.Sequential(nn.Conv2d(3, 4, 3)), "mine")


def test_runs_of_before_had_the_standard_one():
    settings = PretrainConfig(backbone="resnet18", image_size=32).as_dict()
    assert PretrainConfig.read(settings).stem == "auto"
    del settings["stem"]
    assert PretrainConfig.read(settings).stem == "standard"
