"""A training run past bad samples: told, counted, kept; resumed as if nothing had stopped it."""

import json

import pytest
from conftest import jpeg, photo
from test_trainer import rows, same_weights, settings

from fastneg.data import BetonError, BetonReader, BetonWriter
from fastneg.training import checkpoint
from fastneg.training.trainer import pretrain


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """40 photos; 4 and 5 are truncated, 30 is zeros."""
    import numpy as np

    path, rng = tmp_path_factory.mktemp("data") / "broken.beton", np.random.default_rng(0)
    names = [f"photo{i}.jpg" for i in range(40)]
    with BetonWriter(path, classes=["a", "b"]) as writer:
        for i in range(40):
            data = jpeg(photo(rng, 48, 48))
            data = data[: len(data) // 2] if i in (4, 5) else bytes(len(data)) if i == 30 else data
            writer.add(data, 48, 48, label=i % 2, name=names[i])
    with BetonReader(path) as reader:
        assert reader.names == names
    return path


@pytest.fixture(scope="module")
def whole(broken, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert pretrain(settings(broken, out, max_bad_share=0.1, epochs=2)).finished
    return out


def test_they_are_told_counted_and_kept(whole):
    told = rows(whole, "bad_sample")
    assert sorted((row["index"], row["name"]) for row in told) == [(4, "photo4.jpg"), (5, "photo5.jpg"), (30, "photo30.jpg")]
    assert all("cannot be decoded" in row["reason"] for row in told)
    for row in rows(whole):
        assert row["bad_samples"] == len([other for other in told if other["step"] <= row["step"]])
    assert [entry["index"] for entry in json.loads((whole / "quarantine.json").read_text())] == [4, 5, 30]
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
    with pytest.raises(BetonError, match=r"of 40 samples cannot be used, 0.001 of them may be \(--max_bad_share\): sample \d+ \(photo"):
        pretrain(settings(broken, tmp_path / "run"))
