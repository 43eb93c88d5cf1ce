"""A random key of the queue as the extra negative, against its definition written out."""

import copy

import pytest
import torch
import torch.nn.functional as F

from fastneg.config import ConfigError, EvaluateConfig, PretrainConfig
from fastneg.negatives.batch import make_negatives
from fastneg.negatives.queue_entry_torch import queue_entries, with_entries
from helpers.moco_method import build, views


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_keys_are_drawn_from_the_whole_queue_for_each_query():
    queue = torch.randn(7, 5)
    drawn = queue_entries(queue, 400, 3, generator())
    places = (drawn[:, :, None] == queue).all(-1)
    assert drawn.shape == (400, 3, 5) and (places.sum(-1) == 1).all()
    shares = places.float().mean((0, 1))
    assert (shares - 1 / 7).abs().max() < 0.03
    assert torch.equal(drawn, queue_entries(queue, 400, 3, generator()))
    drawn.zero_()
    assert queue.all()  # a copy


def test_kinds_keep_their_order():
    features = [torch.full((2, 3), float(number)) for number in range(4)]
    draw = lambda: torch.full((2, 2, 3), 9.0)
    found = with_entries([False, True, False], features, draw, 2)
    assert found[0, :, 0].tolist() == [0, 1, 9, 9, 2, 3]
    assert with_entries([], [], draw, 2) is None


@pytest.mark.parametrize("kinds", ["queue_entry", "patch,queue_entry", "queue_entry,patch"])
def test_the_loss_is_that_of_these_negatives(float64, kinds):
    alphas = {"queue_entry": 2.0, "patch": 3.0}
    text = ",".join(f"{kind}={alphas[kind]}" for kind in kinds.split(","))
    method = build(negatives=kinds, alpha=text)
    reference = copy.deepcopy(method)
    query_view, key_view, negatives = views(m=1)
    given = negatives if "patch" in kinds else None
    output = method(query_view, key_view, given, generator(4))
    q = reference.query_encoder(query_view)
    k = reference.key_encoder(key_view)
    entry = reference.queue[torch.randint(24, (8, 1), generator=generator(4))][:, 0]
    logits = [(q * k).sum(1)[:, None], q @ reference.queue.T, 2.0 * (q * entry).sum(1)[:, None]]
    if given is not None:
        logits.append(3.0 * (q * reference.key_encoder(negatives[:, 0])).sum(1)[:, None])
    loss = F.cross_entropy(torch.cat(logits, 1) / 0.2, torch.zeros(8, dtype=torch.long))
    torch.testing.assert_close(output.loss, loss)
    assert output.similarities["negative"].shape == (8, len(logits) - 2)
    assert 0 < output.stats["negative_share"] < 1


def test_it_is_no_image():
    config = PretrainConfig(negatives="queue_entry")
    assert config.image_kinds() == () and config.negative_kinds() == ("queue_entry",)
    assert make_negatives(None, config, generator()) is None


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: PretrainConfig(method="simclr", negatives="queue_entry"), "simclr has none"),
        (lambda: PretrainConfig(method="byol", negatives="queue_entry"), "takes keys of the queue"),
        (
            lambda: PretrainConfig(key_pass="batched", negatives="queue_entry"),
            "no negatives that are images",
        ),
        (lambda: EvaluateConfig("run", "a=b", similarity="queue_entry"), "off, on, or some of"),
    ],
)
def test_what_cannot_be_is_refused(make, said):
    with pytest.raises(ConfigError, match=said):
        make()
