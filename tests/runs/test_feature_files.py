"""Features as .npz and .parquet: what NumPy and pyarrow read is what was computed, and no more than
a few batches are held."""

import json
import tracemalloc

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from fastneg.config import ConfigError
from fastneg.runs import feature_files
from fastneg.runs.embed import Part
from fastneg.runs.feature_files import write_features

NAMES = [f"class/{'ü' * (i % 5)}{i}.jpg" for i in range(25)]
POSITIONS = [i for i in range(25) if i not in (3, 4)]  # two images could not be used


def made(labelled=True):
    rows = torch.randn(25, 6, generator=torch.manual_seed(1))[POSITIONS]
    labels = torch.arange(25)[POSITIONS] % 3
    index = torch.tensor(POSITIONS)
    groups = index.split(7)
    features, each = rows.split(7), labels.split(7) if labelled else [None] * len(groups)
    return rows, labels, [Part(*part) for part in zip(features, each, groups, strict=True)]


@pytest.mark.parametrize("at_once", [8192, 10])
def test_npz(tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(feature_files, "ROW_GROUP", at_once)
    monkeypatch.setattr(feature_files, "COPIED_BYTES", 64)
    rows, labels, parts = made()
    facts = {"names": NAMES, "classes": ["a", "b", "c"], "about": {"run": "r"}}
    assert write_features(tmp_path / "f.npz", iter(parts), **facts) == (23, 6)
    with np.load(tmp_path / "f.npz", allow_pickle=False) as found:
        assert set(found) == {"features", "labels", "index", "names", "classes", "about"}
        assert np.array_equal(found["features"], rows) and found["features"].dtype == np.float32
        assert np.array_equal(found["labels"], labels) and found["index"].tolist() == POSITIONS
        assert found["names"].tolist() == [NAMES[i] for i in POSITIONS]
        assert found["classes"].tolist() == ["a", "b", "c"]
        assert json.loads(str(found["about"])) == {"run": "r"}
    assert [path.name for path in tmp_path.iterdir()] == ["f.npz"]


@pytest.mark.parametrize("at_once", [8192, 10])
def test_parquet(tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(feature_files, "ROW_GROUP", at_once)
    rows, labels, parts = made()
    facts = {"names": NAMES, "classes": ["a", "b"], "about": {"run": "r"}}
    assert write_features(tmp_path / "f.parquet", iter(parts), **facts) == (23, 6)
    found = pq.read_table(tmp_path / "f.parquet")
    assert np.array_equal(np.stack(found["features"].to_numpy()), rows)
    assert found["label"].to_pylist() == labels.tolist()
    assert found["class"].to_pylist() == [["a", "b", None][label] for label in labels.tolist()]
    assert found["index"].to_pylist() == POSITIONS
    assert found["name"].to_pylist() == [NAMES[i] for i in POSITIONS]
    assert json.loads(found.schema.metadata[b"fastneg"]) == {"run": "r"}
    groups = pq.ParquetFile(tmp_path / "f.parquet").num_row_groups
    assert groups == (1 if at_once == 8192 else 2)


def test_what_a_file_has_not_is_left_out(tmp_path):
    _, _, parts = made(labelled=False)
    write_features(tmp_path / "f.npz", iter(parts))
    assert set(np.load(tmp_path / "f.npz")) == {"features", "index", "about"}
    write_features(tmp_path / "f.parquet", iter(parts), classes=["a"])
    assert pq.read_table(tmp_path / "f.parquet").column_names == ["features", "index"]


def test_memory_does_not_grow_with_the_images(tmp_path):
    def batches(count):
        for start in range(0, 256 * count, 256):
            features, index = torch.zeros(256, 256), torch.arange(start, start + 256)
            yield Part(features, index, index)

    peaks = []
    for count in (40, 160):  # 10 and 40 MiB of features
        tracemalloc.start()
        write_features(tmp_path / "f.npz", batches(count))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] and peaks[1] < 2**24


@pytest.mark.parametrize("name", ["f.npz", "f.parquet"])
def test_a_failure_leaves_no_file(tmp_path, name):
    def failing():
        yield from made()[2][:1]
        raise ConfigError("no more")

    for parts, message in ((failing(), "no more"), (iter(()), "no images")):
        with pytest.raises(ConfigError, match=message):
            write_features(tmp_path / name, parts)
        assert list(tmp_path.iterdir()) == []


def test_other_endings_and_a_missing_package_are_told(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"ends in \.npz or \.parquet"):
        write_features(tmp_path / "f.csv", iter(()))
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(ConfigError, match=r"pip install 'fastneg\[parquet\]'"):
        write_features(tmp_path / "f.parquet", iter(()))
