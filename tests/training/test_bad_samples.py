"""A training run past bad samples: told, counted, kept; resumed as if nothing had stopped it."""

import json

import numpy as np
import pytest

from fastneg.data import BetonError, BetonReader, BetonWriter
from fastneg.data.load.order import EpochOrder
from fastneg.runs import checkpoint, paths
from fastneg.training.bad_samples import write_quarantine
from fastneg.training.trainer import pretrain
from helpers.images import jpeg, photo
from helpers.pretraining import pretrain_in_two, rows, same_weights, settings


def photos(path, truncated=(), zeros=()):
    """40 photos, some of which cannot be decoded."""
    rng, names = np.random.default_rng(0), [f"photo{i}.jpg" for i in range(40)]
    with BetonWriter(path, classes=["a", "b"]) as writer:
        for i in range(40):
            data = jpeg(photo(rng, 48, 48))
            data = (
                data[: len(data) // 2]
                if i in truncated
                else bytes(len(data))
                if i in zeros
                else data
            )
            writer.add(data, 48, 48, label=i % 2, name=names[i])
    with BetonReader(path) as reader:
        assert reader.names == names
    return path


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    return photos(tmp_path_factory.mktemp("data") / "broken.beton", truncated=(4, 5), zeros=(30,))


@pytest.fixture(scope="module")
def whole(broken, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert pretrain(settings(broken, out, max_bad_share=0.1, epochs=2)).finished
    return out


def test_they_are_told_counted_and_kept(whole):
    told = rows(whole, "bad_sample")
    assert sorted((row["index"], row["name"]) for row in told) == [
        (4, "photo4.jpg"),
        (5, "photo5.jpg"),
        (30, "photo30.jpg"),
    ]
    assert all("cannot be decoded" in row["reason"] for row in told)
    for row in rows(whole):
        assert row["bad_samples"] == len([other for other in told if other["step"] <= row["step"]])
    assert [entry["index"] for entry in json.loads((whole / "quarantine.json").read_text())] == [
        4,
        5,
        30,
    ]
    assert checkpoint.load_newest(whole)[1]["quarantine"].keys() == {4, 5, 30}


@pytest.mark.parametrize("stops", [(1, 3), (6,)])
def test_resumed_equals_uninterrupted(broken, whole, tmp_path, stops):
    config = settings(broken, tmp_path / "run", max_bad_share=0.1, epochs=2)
    for stop in stops:
        assert not pretrain(config, stop_after=stop).finished
    assert pretrain(config).finished
    assert rows(tmp_path / "run") == rows(whole)
    assert rows(tmp_path / "run", "bad_sample") == rows(whole, "bad_sample")
    assert same_weights(tmp_path / "run", whole)


def test_too_many_end_the_run_and_name_them(broken, tmp_path):
    with pytest.raises(
        BetonError,
        match=r"of 40 samples cannot be used, 0.001 of them may be \(--max_bad_share\): "
        r"sample \d+ \(photo",
    ):
        pretrain(settings(broken, tmp_path / "run"))


def test_two_processes_tell_each_other_what_each_has_met(tmp_path):
    """One bad sample in the share of each: both are counted at once, and named, listed and kept at
    the checkpoint."""
    orders = [EpochOrder(40, 8, seed=0, rank=rank, world_size=2) for rank in range(2)]
    first, second = int(orders[0].batch(0, 1)[0]), int(orders[1].batch(0, 2)[0])
    assert abs(first - second) > 1  # so that neither stands in for the other
    data = photos(tmp_path / "broken.beton", truncated=(first,), zeros=(second,))
    config = settings(
        data, tmp_path / "run", max_bad_share=0.1, epochs=2, bn="none", bn_splits=None
    )
    pretrain_in_two(config)
    # In the second epoch each knows what the other has met: nothing is found or counted again.
    assert [row["bad_samples"] for row in rows(tmp_path / "run")] == [0, 1, 2, 2, 2, 2, 2, 2, 2, 2]
    assert [(row["index"], row["step"]) for row in rows(tmp_path / "run", "bad_sample")] == [
        (first, 2),
        (second, 5),
    ]
    assert [
        entry["index"] for entry in json.loads((tmp_path / "run" / "quarantine.json").read_text())
    ] == sorted((first, second))
    assert list(checkpoint.load_newest(tmp_path / "run")[1]["quarantine"]) == sorted(
        (first, second)
    )


def test_the_list_is_written_anew(tmp_path):
    first = {"index": 3, "name": "ä.jpg", "reason": "cut short"}
    for bad in ([first], [first, {"index": 7, "name": None, "reason": "empty"}]):
        write_quarantine(tmp_path, bad)
        assert json.loads((tmp_path / paths.QUARANTINE).read_text(encoding="utf-8")) == bad
    assert [path.name for path in tmp_path.iterdir()] == [paths.QUARANTINE]
