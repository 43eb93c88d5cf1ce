"""The small stem keeps the pixels of small images (fastneg.models.stems)."""

import pytest
import torch
from torch import nn

from fastneg.config import ConfigError, PretrainConfig
from fastneg.models.backbones import build_backbone
from fastneg.models.stems import small_stem


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
