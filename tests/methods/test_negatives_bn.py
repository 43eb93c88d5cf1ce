"""--negatives_bn: negatives normalised by themselves, or in one batch with the keys."""

import copy

import pytest
import torch

from fastneg.config import ConfigError, PretrainConfig
from fastneg.methods import METHODS
from fastneg.methods.key_order import in_one_batch
from fastneg.recipes.presets import tiny_cpu
from helpers.moco_method import views


def method_of(name, **changes):
    torch.manual_seed(0)
    settings = {"method": name, "feature_dim": 16, "negatives_per_query": 2, "alpha": 1.5}
    config = tiny_cpu().replace(**{**settings, **changes})
    return METHODS[name](config)


def encoded(method, images):
    """What --negatives_bn is about: the encoder that negatives pass through, in training mode."""
    return getattr(method, "key_encoder", method.query_encoder)(images)


@pytest.mark.parametrize("negatives_bn", ["apart", "joint"])
@pytest.mark.parametrize("name", METHODS)
def test_statistics_are_those_of_the_batch_that_is_named(float64, name, negatives_bn):
    plain = {"bn": "none"} if name == "moco" else {}
    method = method_of(name, negatives_bn=negatives_bn, **plain)
    reference = copy.deepcopy(method)
    query_view, key_view, negatives = views()
    output = method(query_view, key_view, negatives, torch.Generator())
    one = name in ("simclr", "supcon")  # one encoder, through which both views pass together
    before = [query_view, key_view] if one else [key_view]
    if negatives_bn == "joint":
        together = encoded(reference, torch.cat([*before, *negatives.unbind(1)]))
        extra = torch.stack(together.chunk(len(before) + 2)[len(before) :], 1)
    else:
        extra = torch.stack([encoded(reference, images) for images in negatives.unbind(1)], 1)
    if one:
        views_of = together if negatives_bn == "joint" else encoded(reference, torch.cat(before))
        query = views_of[: len(query_view)]
    else:
        predict = getattr(reference, "_predict", reference.query_encoder)
        query = predict(query_view)
    unit = torch.nn.functional.normalize
    expected = torch.einsum("nd,nmd->nm", unit(query, dim=1), unit(extra, dim=2))
    torch.testing.assert_close(output.similarities["negative"], expected)


@pytest.mark.parametrize("name", [name for name, one in METHODS.items() if not one.key_encoder])
def test_running_statistics_are_those_of_the_views_where_negatives_pass_apart(float64, name):
    """The encoder is evaluated with them, on images."""
    method = method_of(name)
    reference = copy.deepcopy(method.query_encoder)
    query_view, key_view, negatives = views()
    method(query_view, key_view, negatives).loss.backward()
    reference(torch.cat([query_view, key_view]))
    for (key, expected), value in zip(
        reference.named_buffers(), method.query_encoder.buffers(), strict=True
    ):
        torch.testing.assert_close(value, expected, msg=key)


def test_groups_of_a_split_hold_keys_and_negatives_alike(float64):
    method = method_of("moco", negatives_bn="joint", bn="split", bn_splits=2)
    reference = copy.deepcopy(method)
    query_view, key_view, negatives = views()
    output = method(query_view, key_view, negatives, torch.Generator().manual_seed(3))
    draws = torch.Generator().manual_seed(3)
    orders = [torch.randperm(8, generator=draws) for _ in range(3)]
    batches = [key_view, *negatives.unbind(1)]
    shuffled = [images[order] for images, order in zip(batches, orders, strict=True)]
    groups = [torch.cat([images[part : part + 4] for images in shuffled]) for part in (0, 4)]
    per_group = [each.chunk(3) for each in reference.key_encoder(torch.cat(groups)).chunk(2)]
    keys = torch.empty_like(output.keys)
    keys[orders[0]] = torch.cat([group[0] for group in per_group])
    torch.testing.assert_close(output.keys, keys)


def test_one_batch_gives_each_view_its_own_rows():
    parts = [torch.arange(6.0)[:, None] + 10 * view for view in range(3)]
    for groups in (1, 2, 3):
        found = in_one_batch(lambda images: images * 2, parts, groups)
        assert all(torch.equal(one, part * 2) for one, part in zip(found, parts, strict=True))


def test_it_goes_without_a_pass_of_groups():
    with pytest.raises(
        ConfigError, match="--negatives_bn is joint, which encodes them in one batch"
    ):
        PretrainConfig(key_pass="batched", negatives_bn="joint")
    assert "negatives_bn" in PretrainConfig(negatives="none").without_effect()
    assert "negatives_bn" not in PretrainConfig().without_effect()
