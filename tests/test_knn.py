"""kNN against the plain definition in float64."""

import json
import math

import pytest
import torch

from fastneg.config import KnnConfig
from fastneg.knn import knn_votes
from fastneg.recipes.knn import run_knn
from helpers.encoder_runs import make_run
from helpers.tinted import make_beton


def plain(queries, voters, labels, classes, k, temperature):
    """One query at a time, in float64, with exp(s / T) and no tricks."""
    votes = torch.zeros(len(queries), classes, dtype=torch.float64)
    for row, query in enumerate(queries.double()):
        similarity = [
            float(query @ voter / (query.norm() * voter.norm())) for voter in voters.double()
        ]
        for j in sorted(range(len(voters)), key=lambda j: -similarity[j])[:k]:
            votes[row, labels[j]] += math.exp(similarity[j] / temperature)
    return votes / votes.sum(1, keepdim=True)


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (7, 0.07), (20, 0.5), (53, 0.1)])
@pytest.mark.parametrize("blocks", [(1024, 16384), (4, 10), (1, 1)])
def test_votes_are_the_definition(k, temperature, blocks):
    generator = torch.Generator().manual_seed(k)
    queries, voters = (
        torch.randn(9, 6, generator=generator) * 3,
        torch.randn(53, 6, generator=generator),
    )
    labels = torch.randint(0, 5, (53,), generator=generator)
    votes = knn_votes(queries, voters, labels, 5, k, temperature, blocks=blocks)
    torch.testing.assert_close(
        votes.double(), plain(queries, voters, labels, 5, k, temperature), rtol=1e-5, atol=1e-6
    )


def test_a_low_temperature_does_not_overflow():
    votes = knn_votes(torch.eye(3), torch.eye(3), torch.arange(3), 3, k=3, temperature=1e-4)
    torch.testing.assert_close(votes, torch.eye(3))


def test_more_neighbours_than_voters_are_all_voters():
    queries, voters, labels = torch.randn(4, 3), torch.randn(6, 3), torch.tensor([0, 1, 0, 1, 2, 2])
    torch.testing.assert_close(
        knn_votes(queries, voters, labels, 3, 200), knn_votes(queries, voters, labels, 3, 6)
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"voters": torch.randn(6, 4)}, "were expected"),
        ({"k": 0}, "above 0"),
        ({"temperature": 0.0}, "above 0"),
        ({"voter_labels": torch.tensor([0, 1, 0, 1, 2, 3])}, "0 to 2"),
        ({"queries": torch.tensor([[1.0, float("nan"), 0.0]])}, "1 of 1 queries"),
    ],
)
def test_what_cannot_be_is_refused(change, said):
    given = {
        "queries": torch.randn(4, 3),
        "voters": torch.randn(6, 3),
        "voter_labels": torch.tensor([0, 1, 0, 1, 2, 2]),
        "classes": 3,
    }
    with pytest.raises(ValueError, match=said):
        knn_votes(**{**given, **change})


def test_the_recipe_joins_by_name_and_clips_k(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    train = make_beton(tmp_path / "train.beton", 40)
    val = make_beton(tmp_path / "val.beton", 20, classes=("d", "a", "c", "b"), seed=1)
    assert run_knn(KnnConfig(str(run), str(train), str(val), device="cpu", threads=1)) == 0
    row = json.loads((run / "evaluation.jsonl").read_text())
    assert row["kind"] == "knn" and row["k"] == 40 and row["images"] == 20 and row["classes"] == 4
    assert row["top1"] > 90, "joined by number only one class in four would fit"
    assert "all of them vote" in capsys.readouterr().out
    # one neighbour names one class: the three others are not among the first five
    run_knn(KnnConfig(str(run), str(train), str(val), k=1, device="cpu", threads=1))
    row = json.loads((run / "evaluation.jsonl").read_text().splitlines()[-1])
    assert row["k"] == 1 and row["top5"] == row["top1"] > 50
