"""MoCo v2 with non-semantic negatives against the published definition written out: einsum, cat,
cross-entropy."""

import copy

import pytest
import torch
import torch.nn.functional as F

from fastneg.config import PretrainConfig
from fastneg.methods.moco_torch import MoCo
from fastneg.methods.output import MethodOutput
from helpers.moco_method import build, views


def test_loss_and_gradient_are_the_published_ones(float64):
    method = build()
    reference = copy.deepcopy(method)
    query_view, key_view, negatives = views()
    output = method(query_view, key_view, negatives)
    assert (
        isinstance(output, MethodOutput)
        and output.loss.shape == ()
        and output.loss.dtype == torch.float64
    )
    output.loss.backward()

    q = reference.query_encoder(query_view)
    with torch.no_grad():
        k = reference.key_encoder(key_view)
        extra = torch.stack([reference.key_encoder(negatives[:, m]) for m in range(2)], 1)
    positive = torch.einsum("nd,nd->n", q, k)[:, None]
    logits = (
        torch.cat([positive, q @ reference.queue.T, 3.0 * torch.einsum("nd,nmd->nm", q, extra)], 1)
        / 0.2
    )
    loss = F.cross_entropy(logits, torch.zeros(8, dtype=torch.long))
    loss.backward()
    torch.testing.assert_close(output.loss, loss)
    for ours, theirs in zip(
        method.query_encoder.parameters(), reference.query_encoder.parameters(), strict=True
    ):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12)
    assert all(parameter.grad is None for parameter in method.key_encoder.parameters())
    torch.testing.assert_close(output.stats["positive_similarity"], positive.mean())
    torch.testing.assert_close(output.stats["queue_similarity"], (q @ reference.queue.T).mean())
    torch.testing.assert_close(
        output.stats["negative_similarity"], torch.einsum("nd,nmd->nm", q, extra).mean()
    )
    share = logits.softmax(1)[:, -2:].sum(1).mean()
    torch.testing.assert_close(output.stats["negative_share"], share)
    torch.testing.assert_close(output.stats["acc1"], (logits.argmax(1) == 0).float().mean())
    assert not output.keys.requires_grad and torch.equal(output.keys, k)


def test_without_negatives_it_is_plain_moco():
    method = build(negatives="none")
    query_view, key_view, _ = views()
    output = method(query_view, key_view)
    q, k = method.query_encoder(query_view), method.key_encoder(key_view)
    logits = torch.cat([(q * k).sum(1, keepdim=True), q @ method.queue.T], 1) / 0.2
    torch.testing.assert_close(
        output.loss, F.cross_entropy(logits, torch.zeros(8, dtype=torch.long))
    )
    assert not {"negative_similarity", "negative_share"} & output.stats.keys()


def test_alpha_zero_leaves_a_constant_logit_and_no_gradient():
    method = build(alpha=0.0)
    query_view, key_view, negatives = views(m=1)
    one = method(query_view, key_view, negatives).loss
    other = method(query_view, key_view, torch.randn_like(negatives)).loss
    torch.testing.assert_close(one, other)


def test_after_step_moves_keys_and_fills_the_queue():
    method = build()
    with torch.no_grad():
        for parameter in method.query_encoder.parameters():
            parameter.add_(torch.randn_like(parameter))
    key, query = (
        next(method.key_encoder.parameters()).clone(),
        next(method.query_encoder.parameters()),
    )
    rows = F.normalize(torch.randn(8, 16), dim=1)
    method.after_step(rows)
    torch.testing.assert_close(next(method.key_encoder.parameters()), 0.9 * key + 0.1 * query)
    assert method.pointer == 8 and torch.equal(method.queue[:8], rows)
    torch.testing.assert_close(method.queue.norm(dim=1), torch.ones(24))


def test_the_pointer_is_in_the_checkpoint():
    method = build()
    method.after_step(F.normalize(torch.randn(5, 16), dim=1))
    other = build()
    other.load_state_dict(method.state_dict())
    assert other.pointer == 5 and torch.equal(other.queue, method.queue)


def test_split_batch_norm_groups_the_key_batch_in_the_drawn_order():
    method = build(bn="split", bn_splits=2)
    reference = copy.deepcopy(method)
    query_view, key_view, negatives = views(m=1)
    output = method(query_view, key_view, negatives, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    order = torch.randperm(8, generator=generator)
    with torch.no_grad():
        for module in reference.key_encoder.modules():
            if hasattr(module, "splits"):
                module.splits = 1
        parts = [reference.key_encoder(key_view[rows]) for rows in order.chunk(2)]
    keys = torch.empty_like(output.keys)
    keys[order] = torch.cat(parts)
    torch.testing.assert_close(output.keys, keys)


def test_the_split_changes_what_the_statistics_are_taken_over():
    query_view, key_view, negatives = views()
    plain, split = build(bn="none"), build(bn="split", bn_splits=4)
    assert not torch.allclose(
        plain(query_view, key_view, negatives).loss, split(query_view, key_view, negatives).loss
    )


def test_a_backbone_without_batch_norm_needs_no_split():
    assert MoCo(PretrainConfig(backbone="convnext_tiny", queue_size=8)).order == "none"


def test_keys_are_shuffled_whatever_layer_normalises_their_batch():
    own = {"backbone": "helpers.own_nets:Vectors", "image_size": 32, "queue_size": 8}
    assert MoCo(PretrainConfig(bn="shuffle", **own)).order == "shuffle"


@pytest.mark.parametrize("options", [{"bn": "split", "bn_splits": 2}, {"bn": "none"}])
def test_one_pass_for_keys_and_negatives_gives_the_numbers_of_separate_ones(options):
    query_view, key_view, negatives = views(m=3)
    outputs = []
    for key_pass in ("separate", "batched"):
        method = build(key_pass=key_pass, negatives_per_query=3, **options)
        outputs.append(method(query_view, key_view, negatives, torch.Generator().manual_seed(3)))
    separate, batched = outputs
    torch.testing.assert_close(batched.keys, separate.keys)
    torch.testing.assert_close(batched.loss, separate.loss)
    torch.testing.assert_close(batched.similarities["negative"], separate.similarities["negative"])
