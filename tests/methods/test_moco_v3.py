"""MoCo v3 with non-semantic negatives against its definition written out in float64."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fastneg.methods.moco_v3_torch import MoCoV3, freeze_patches
from fastneg.models.backbones import build_backbone
from fastneg.models.encoders import normalised_mlp, scheduled_momentum
from fastneg.models.weights import load_into, read_weights
from fastneg.recipes.presets import tiny_cpu_moco_v3
from fastneg.training.trainer import pretrain
from helpers.pretraining import settings, weights


def build(**changes):
    torch.manual_seed(0)
    small = {"feature_dim": 16, "hidden_dim": 24, "alpha": 1.5, "key_momentum": 0.9}
    return MoCoV3(tiny_cpu_moco_v3().replace(**{**small, **changes}))


def views(n=6, m=2):
    return torch.randn(n, 3, 32, 32), torch.randn(n, 3, 32, 32), torch.randn(n, m, 3, 32, 32)


def contrasted(query, key, negatives, temperature, alpha):
    """2T times the cross-entropy of its algorithm 1, image by image, the negatives as more
    classes."""
    logits = torch.cat([query @ key.t(), alpha * torch.einsum("nd,nmd->nm", query, negatives)], 1)
    return 2 * temperature * F.cross_entropy(logits / temperature, torch.arange(len(query)))


def plain_loss(method, query_view, key_view, negatives, alpha):
    unit = lambda rows: rows / rows.norm(dim=1, keepdim=True)
    q1, q2 = (unit(method.predictor(method.query_encoder(v))) for v in (query_view, key_view))
    with torch.no_grad():
        k1, k2 = (unit(method.key_encoder(view)) for view in (query_view, key_view))
        t = torch.stack([unit(method.key_encoder(each)) for each in negatives.unbind(1)], 1)
    return sum(
        contrasted(query, key, t, method.temperature, alpha) for query, key in ((q1, k2), (q2, k1))
    )


def test_loss_and_gradient_are_the_definition(float64):
    method = build()
    reference, batch = copy.deepcopy(method), views()
    output = method(*batch)
    output.loss.backward()
    loss = plain_loss(reference, *batch, 1.5)
    loss.backward()
    torch.testing.assert_close(output.loss, loss)
    for part in ("query_encoder", "predictor"):
        pairs = zip(
            getattr(method, part).parameters(), getattr(reference, part).parameters(), strict=True
        )
        for ours, theirs in pairs:
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12)
    assert all(parameter.grad is None for parameter in method.key_encoder.parameters())
    assert 0 < output.stats["negative_share"] < 1 and output.keys is None


def test_negatives_may_share_the_keys_batch_statistics(float64):
    apart, joint = build(), build(negatives_bn="joint")
    batch = views(m=1)
    output = joint(*batch)
    assert output.loss != apart(*batch).loss
    with torch.no_grad():
        both = F.normalize(joint.key_encoder(torch.cat([batch[1], batch[2][:, 0]])))
    found = (F.normalize(joint.predictor(joint.query_encoder(batch[0]))) * both[6:]).sum(1)
    torch.testing.assert_close(output.similarities["negative"][:, 0], found)


def test_without_negatives_it_is_plain_moco_v3(float64):
    method = build(negatives="none")
    query_view, key_view, _ = views()
    nothing = torch.zeros(6, 0, 16)
    q1, q2 = (
        F.normalize(method.predictor(method.query_encoder(v))) for v in (query_view, key_view)
    )
    k1, k2 = (F.normalize(method.key_encoder(view)) for view in (query_view, key_view))
    loss = contrasted(q1, k2, nothing, 0.2, 1) + contrasted(q2, k1, nothing, 0.2, 1)
    output = method(query_view, key_view)
    torch.testing.assert_close(output.loss, loss)
    assert "negative_similarity" not in output.stats


def test_the_key_encoder_follows_on_a_rising_momentum():
    method = build()
    key, query = (copy.deepcopy(each) for each in (method.key_encoder, method.query_encoder))
    with torch.no_grad():
        for parameter in method.query_encoder.parameters():
            parameter.add_(1)
    method.after_step(None, 0.5)
    m = scheduled_momentum(0.9, "cosine", 0.5)
    for now, was, other in zip(
        method.key_encoder.parameters(), key.parameters(), query.parameters(), strict=True
    ):
        torch.testing.assert_close(now, m * was + (1 - m) * (other + 1))


def test_the_head_has_the_published_layers():
    kinds = [type(layer).__name__ for layer in normalised_mlp([5, 7, 7, 3])]
    block = ["Linear", "BatchNorm1d", "ReLU"]
    assert kinds == [*block, *block, "Linear", "BatchNorm1d"]
    layers = normalised_mlp([5, 7, 3])
    assert not layers[4].affine and layers[1].affine and layers[0].bias is None


@pytest.mark.parametrize("name", ["vit_b_32", "timm:test_vit"])
def test_the_patch_projection_of_a_transformer_stays(name):
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    backbone, _ = build_backbone(name, 160 if name.startswith("timm:") else 32)
    assert freeze_patches(backbone)
    frozen = [name for name, each in backbone.named_parameters() if not each.requires_grad]
    assert len(frozen) == 2 and all("proj" in name for name in frozen)
    assert not freeze_patches(build_backbone("resnet_tiny")[0])
    wrapped = nn.ModuleDict({"vit": nn.ModuleDict({"conv_proj": nn.Conv2d(3, 4, 4)})})
    assert freeze_patches(wrapped), "a part of an own network"
    assert not any(each.requires_grad for each in wrapped.parameters())


def test_its_own_checkpoints_give_heads_and_predictor(tmp_path):
    """With the names of its authors' files: base_encoder with the head as its fc,
    momentum_encoder, predictor."""
    theirs, ours, state = build(), build(), {}
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter))
    encoders = {"base": theirs.query_encoder, "momentum": theirs.key_encoder}
    for name, encoder in encoders.items():
        whole = nn.ModuleDict({**dict(encoder.backbone.named_children()), "fc": encoder.projector})
        state |= {f"module.{name}_encoder.{k}": v for k, v in whole.state_dict().items()}
    state |= {f"module.predictor.{k}": v for k, v in theirs.predictor.state_dict().items()}
    torch.save({"epoch": 1, "state_dict": state}, tmp_path / "v3.pth.tar")
    said = load_into(ours, read_weights(tmp_path / "v3.pth.tar")).said
    assert sum(": taken from" in line for line in said) == 5
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name


def test_a_run_trains_a_transformer_with_adamw(beton, tmp_path):
    """And its patch projection stays; several processes are in test_gather.py."""
    pytest.importorskip("timm")
    changes = {"hidden_dim": 24, "projector_layers": 2, "temperature": 0.2, "queue_size": None}
    changes |= {"method": "moco_v3", "bn": "none", "bn_splits": None, "epochs": 1}
    changes |= {"backbone": "timm:test_vit", "optimizer": "adamw", "lr": 1e-3}
    size = {"image_size": 160, "eval_resize": 160, "batch_size": 4}
    config = settings(beton, tmp_path / "run", **changes, **size)
    pretrain(config, stop_after=1)
    first = weights(tmp_path / "run")
    pretrain(config, stop_after=1)
    second, moved = weights(tmp_path / "run"), []
    for name, value in first.items():
        if name.startswith("query_encoder.backbone."):
            moved.append(not torch.equal(value, second[name]))
            assert moved[-1] or "patch_embed" in name, name
    assert moved.count(False) == 2
