"""What patch negatives would be to a run without any: measured right, and without a trace."""

import copy
import itertools

import pytest
import torch

from fastneg.methods import METHODS
from fastneg.negatives.batch import make_negatives, step_seed
from fastneg.training import trainer
from fastneg.training.measured import STREAM, measure, measures
from fastneg.training.trainer import pretrain
from helpers.pretraining import first_batch, rows, same_weights, settings


@pytest.mark.parametrize("method", ["moco", "simclr", "byol"])
def test_the_run_is_the_one_that_measures_nothing(beton, tmp_path, monkeypatch, method):
    for name in ("with", "without"):
        config = settings(beton, tmp_path / name, epochs=1, log_every=2, negatives="none")
        if name == "without":
            monkeypatch.setattr(trainer, "measures", lambda config, method: False)
        pretrain(config.replace(method=method))
    found = rows(tmp_path / "with", "measured")
    assert [row["step"] for row in found] == [4, 5] and not rows(tmp_path / "without", "measured")
    for row in found:
        assert row["negatives"] == "patch" and row["alpha"] == 1.0
        assert -1 <= row["negative_similarity"] <= 1
        assert ("negative_share" in row) == (method != "byol")
        assert 0 < row.get("negative_share", 0.5) < 1
    assert same_weights(tmp_path / "with", tmp_path / "without")
    assert rows(tmp_path / "with") == rows(tmp_path / "without")


def test_the_queue_is_that_of_the_step(beton, tmp_path, monkeypatch):
    """Without the keys of the batch, of which one is the positive key of each query."""
    met = []

    def look(method, batch, config, step, rank, autocast, queue):
        met.append((len(batch.query), method.pointer, (queue != method.queue).any(1)))
        return measure(method, batch, config, step, rank, autocast, queue)

    monkeypatch.setattr(trainer, "measure", look)
    config = settings(beton, tmp_path / "run", epochs=2, log_every=2, negatives="none")
    pretrain(config.replace(queue_size=64))
    assert [row["step"] for row in rows(tmp_path / "run", "measured")] == [4, 10] and len(met) == 2
    for count, pointer, changed in met:
        places = torch.arange(pointer - count, pointer) % len(changed)
        assert changed.nonzero().flatten().tolist() == sorted(places.tolist())


@pytest.mark.parametrize(("method", "own"), [("moco", False), ("moco", True), ("simclr", False)])
def test_it_is_what_a_run_with_them_logs(beton, method, own):
    """Of the queue that is given, where one is."""
    config = settings(beton, "run", alpha=1.5).replace(method=method)
    plain = config.replace(negatives="none")
    torch.manual_seed(0)
    network = METHODS[method](plain).train()
    twin = METHODS[method](config).train()
    twin.load_state_dict(network.state_dict())
    batch, queue = first_batch(config), None
    if own:
        queue = network.queue.clone()
        network.queue.copy_(queue.flip(1))
    before = copy.deepcopy(network.state_dict())
    found = measure(network, batch, plain, 7, rank=1, queue=queue)
    # its own; that of all processes
    seeds = [step_seed(plain.seed, 7, rank, STREAM) for rank in (1, 0)]
    draws, orders = (torch.Generator().manual_seed(seed) for seed in seeds)
    negatives = make_negatives(batch, config, draws)
    output = twin(batch.query, batch.key, negatives, orders)
    for name in ("negative_similarity", "negative_share"):
        torch.testing.assert_close(found[name], output.stats[name])
    assert found["alpha"] == 1.5 and network.alphas.values == ()
    for name, value in network.state_dict().items():
        assert not isinstance(value, torch.Tensor) or torch.equal(value, before[name])


def test_patches_fit_views_that_they_were_not_meant_for(beton):
    config = settings(beton, "run", negatives="none", patch_min=40, patch_max=60)
    network = METHODS["moco"](config).train()
    assert measure(network, first_batch(config), config, 0)["negative_share"].isfinite()


def test_who_is_measured():
    plain = settings("x.beton", "run", negatives="none")
    network = METHODS["moco"](plain)
    assert measures(plain, network)
    assert not measures(plain.replace(negatives="patch"), network)
    assert not measures(plain.replace(compile=True), network)
    assert not measures(plain, torch.nn.Linear(2, 2))  # a method of a user's own
    drawn = itertools.product((0, 1), (0, 1), (0,), (2, STREAM))
    assert len({step_seed(*words) for words in drawn}) == 8
