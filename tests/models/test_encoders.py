"""Encoders, split batch normalisation and the momentum update, against plain definitions."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fastneg.models.backbones import build_backbone
from fastneg.models.batch_norm import GroupedBatchNorm2d, split_batch_norm
from fastneg.models.encoders import Encoder, mlp, momentum_update


def test_features_have_unit_length():
    features = Encoder("resnet_tiny", 32)(torch.randn(4, 3, 48, 48))
    assert features.shape == (4, 32)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(4))


def test_byols_head_is_wide_and_normalised():
    encoder = Encoder("resnet_tiny", 32, hidden_dim=48, unit_length=False)
    assert [type(layer).__name__ for layer in encoder.projector] == [
        "Linear",
        "BatchNorm1d",
        "ReLU",
        "Linear",
    ]
    assert encoder.projector[0].out_features == encoder.projector[1].num_features == 48
    images = torch.randn(4, 3, 32, 32)
    features = encoder(images)
    torch.testing.assert_close(features, encoder.projector(encoder.backbone(images)))
    assert not torch.allclose(features.norm(dim=1), torch.ones(4))
    assert [type(layer).__name__ for layer in mlp(3, 4, 5)] == ["Linear", "ReLU", "Linear"]


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_split_batch_norm_equals_one_plain_layer_per_part(memory_format):
    images = torch.randn(12, 5, 4, 3).to(memory_format=memory_format)
    layer = GroupedBatchNorm2d(5)
    nn.init.uniform_(layer.weight)
    nn.init.uniform_(layer.bias)
    layer.splits = 3
    plain = [nn.BatchNorm2d(5) for _ in range(3)]
    for each in plain:
        each.load_state_dict(layer.state_dict())
    ours = images.clone().requires_grad_()
    theirs = images.clone().requires_grad_()
    out, expected = (
        layer(ours),
        torch.cat([each(part) for each, part in zip(plain, theirs.chunk(3), strict=True)]),
    )
    torch.testing.assert_close(out, expected)
    weights = torch.randn_like(out)
    (out * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
    torch.testing.assert_close(layer.weight.grad, sum(each.weight.grad for each in plain))
    torch.testing.assert_close(
        layer.running_mean, torch.stack([each.running_mean for each in plain]).mean(0)
    )
    torch.testing.assert_close(
        layer.running_var, torch.stack([each.running_var for each in plain]).mean(0)
    )
    layer.eval(), plain[0].load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(images), plain[0].eval()(images))


def test_split_batch_norm_refuses_a_batch_that_does_not_divide():
    layer = GroupedBatchNorm2d(2)
    layer.splits = 4
    with pytest.raises(ValueError, match="6 does not divide into 4"):
        layer(torch.randn(6, 2, 3, 3))


def test_conversion_reaches_every_layer_and_keeps_the_weights():
    backbone, _ = build_backbone("resnet18")
    before = copy.deepcopy(backbone.state_dict())
    expected = sum(isinstance(module, nn.BatchNorm2d) for module in backbone.modules())
    assert split_batch_norm(backbone, 2) == expected == 20
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


def test_momentum_update_is_the_published_average():
    query, key = (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)) for _ in range(2))
    buffer = key[1].running_mean.clone()
    expected = [
        0.9 * k + 0.1 * q for k, q in zip(key.parameters(), query.parameters(), strict=True)
    ]
    momentum_update(key, query, 0.9)
    for value, wanted in zip(key.parameters(), expected, strict=True):
        torch.testing.assert_close(value, wanted)
    assert torch.equal(key[1].running_mean, buffer)
    query[0].weight.grad = None
    F.mse_loss(query(torch.randn(5, 3)), torch.zeros(5, 4)).backward()
    assert query[0].weight.grad is not None
