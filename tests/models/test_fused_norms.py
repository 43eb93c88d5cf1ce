"""Networks whose batch normalisation does its ReLU and addition, against themselves before that."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fastneg.errors import TrainingError
from fastneg.models.backbones import build_backbone
from fastneg.models.batch_norm import GroupedBatchNorm2d, split_batch_norm
from fastneg.models.fused_norms import Fused, fuse
from fastneg.training.trainer import pretrain
from helpers.pretraining import in_float64, rows, settings, weights


def step(network, images, draw=1):
    """Features and gradients of one pass in training, then features in eval mode."""
    torch.manual_seed(draw)  # of dropout
    features = network.train()(images)
    gradients = torch.autograd.grad(features.square().sum(), list(network.parameters()))
    with torch.no_grad():
        return features.detach(), *gradients, network.eval()(images)


def compare(network, images, found):
    fused = copy.deepcopy(network)
    assert fuse(fused) == found and fuse(fused) == Fused(0, 0)
    assert list(fused.state_dict()) == list(network.state_dict())
    for one, other in zip(step(fused, images), step(network, images), strict=True):
        torch.testing.assert_close(one, other)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(fused.state_dict()[name], value, msg=name)
    copy.deepcopy(fused).load_state_dict(network.state_dict())


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("resnet_tiny", Fused(7, 3)),
        ("timm:test_resnet", Fused(12, 4)),  # both kinds of blocks
        ("mobilenet_v3_small", Fused(5, 0)),  # most have other activations
    ],
)
def test_networks_compute_what_they_did(float64, name, found):
    network, _ = build_backbone(name, 32)
    images = torch.randn(4, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    compare(network, images, found)


def blocks():
    """(block of 8 channels, what is fused of it)."""
    from torchvision.models import densenet, resnet
    from torchvision.models.googlenet import BasicConv2d as OfGoogLeNet
    from torchvision.models.inception import BasicConv2d as OfInception

    shortcut = nn.Sequential(nn.Conv2d(8, 32, 1), nn.BatchNorm2d(32))
    yield resnet.Bottleneck(8, 8, downsample=shortcut), Fused(3, 1)
    yield densenet._DenseLayer(8, 4, 2, 0.1), Fused(2, 0)
    yield OfGoogLeNet(8, 4, kernel_size=3), Fused(1, 0)
    yield OfInception(8, 4, kernel_size=3), Fused(1, 0)
    yield nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.ReLU()), Fused(1, 0)

    class Own(nn.BatchNorm2d):
        pass

    class OwnBlock(resnet.BasicBlock):
        def forward(self, x):
            return super().forward(x).sigmoid()

    class OwnName(resnet.BasicBlock):
        pass

    def replaced(block, name, part):
        setattr(block, name, part)
        return block

    yield OwnName(8, 8), Fused(2, 1)
    yield OwnBlock(8, 8), Fused(0, 0)
    yield replaced(resnet.BasicBlock(8, 8), "relu", nn.LeakyReLU()), Fused(0, 0)
    yield replaced(resnet.BasicBlock(8, 8), "bn2", Own(8)), Fused(0, 0)
    for layer, relu in (
        (nn.BatchNorm2d(8, momentum=None), nn.ReLU()),
        (Own(8), nn.ReLU()),
        (nn.BatchNorm2d(8), nn.ReLU6()),
        (nn.BatchNorm2d(8), nn.Sequential(nn.ReLU())),
    ):
        yield nn.Sequential(layer, relu), Fused(0, 0)
    yield nn.Sequential(nn.BatchNorm2d(8, affine=False), nn.ReLU(), nn.Conv2d(8, 2, 1)), Fused(1, 0)
    untracked = nn.BatchNorm2d(8, track_running_stats=False)
    yield nn.Sequential(untracked, nn.ReLU(), nn.Conv2d(8, 2, 1)), Fused(1, 0)


def test_blocks_are_fused_where_their_code_is_known(float64):
    count = 0
    for block, found in blocks():
        compare(nn.Sequential(nn.Conv2d(3, 8, 1), block), torch.randn(4, 3, 6, 6), found)
        count += 1
    assert count == 15


def layer_by_layer(layer, images):
    """The definition of a split layer: one plain layer for each part."""
    if not layer.training:
        return nn.BatchNorm2d.forward(layer, images)
    parts, means, variances = [], [], []
    for part in images.chunk(layer.splits):
        own = layer.running_mean.clone(), layer.running_var.clone()
        options = layer.weight, layer.bias, True, layer.momentum, layer.eps
        parts.append(F.batch_norm(part, *own, *options))
        means.append(own[0])
        variances.append(own[1])
    with torch.no_grad():
        layer.running_mean.copy_(torch.stack(means).mean(0))
        layer.running_var.copy_(torch.stack(variances).mean(0))
        layer.num_batches_tracked.add_(1)
    return torch.cat(parts)


@pytest.mark.parametrize("bn", ["split", "none"])
def test_a_fused_training_is_the_same_one(beton, tmp_path, capsys, monkeypatch, bn):
    """In float64: losses and weights of a run with --fused_bn and of one of plain layers."""
    options = {"epochs": 1, "bn": bn, **({} if bn == "split" else {"bn_splits": None})}
    for fused in ("on", "off"):
        if fused == "off":
            monkeypatch.setattr(GroupedBatchNorm2d, "forward", layer_by_layer)
        with in_float64():
            assert pretrain(settings(beton, tmp_path / fused, fused_bn=fused, **options)).finished
        told = "7 of the 9 layers of batch normalisation are fused with their ReLU, 3 of"
        assert (told in capsys.readouterr().out) == (fused == "on")
    for mine, other in zip(rows(tmp_path / "on"), rows(tmp_path / "off"), strict=True):
        assert mine["loss"] == pytest.approx(other["loss"], rel=1e-9)
    reference = weights(tmp_path / "off")
    for name, value in weights(tmp_path / "on").items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(value, reference[name], rtol=1e-9, atol=1e-9, msg=name)


def test_nothing_to_fuse_is_told(beton, tmp_path):
    config = settings(
        beton, tmp_path / "run", backbone="convnext_tiny", fused_bn="on", bn="none", bn_splits=None
    )
    with pytest.raises(TrainingError, match="--fused_bn is on, but convnext_tiny has no block"):
        pretrain(config)


def test_split_layers_are_fused_too():
    network = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU())
    split_batch_norm(network, 2)
    images = torch.randn(4, 3, 2, 2)
    expected = network(images)
    assert fuse(network) == Fused(1, 0)
    assert type(network[0]) is GroupedBatchNorm2d and type(network[1]) is nn.Identity
    torch.testing.assert_close(network(images), expected)
