"""The rows of `fastneg bench encode` and `fastneg bench checks`; none of them asserts a time."""

import importlib.util

import pytest

from fastneg.data import BetonReader
from fastneg.recipes.bench.encode import CONTENDERS, FEW, _write, bench_encode, ffcv_unchecked


def test_encoding_is_measured_beside_a_copy_and_ffcv_where_it_is(monkeypatch):
    monkeypatch.setattr(
        "fastneg.recipes.bench.loader_contenders.importlib.util.find_spec", lambda name: None
    )
    rows = {row["contender"]: row for row in bench_encode(rounds=1, images=FEW + 8)}
    assert list(rows) == list(CONTENDERS)
    for name in ("ffcv", "ffcv_unchecked"):
        assert "not installed" in rows[name]["skipped"] and "images_per_s" not in rows[name]
    for name in ("passthrough", "passthrough_markers", "copy"):
        row = rows[name]
        assert row["start_s"] > 0 and row["ratio_to_ffcv"] is None
        assert row["mb_per_s"] == pytest.approx(
            row["images_per_s"] * row["bytes_per_image"] / 1e6, rel=0.01
        )


def test_rates_are_of_the_images_beyond_the_few(monkeypatch):
    times = {
        "passthrough": {"images": (3.0, 4.0), "few": (1.0, 2.0)},
        "ffcv": {"images": (30.0, 40.0), "few": (10.0, 20.0)},
    }
    monkeypatch.setattr("fastneg.recipes.bench.encode.missing", lambda name: None)
    monkeypatch.setattr(
        "fastneg.recipes.bench.encode._run",
        lambda contender, source, out, workers: times[contender][source.name],
    )
    rows = {
        row["contender"]: row for row in bench_encode(1, FEW + 8, {name: name for name in times})
    }
    assert rows["passthrough"]["images_per_s"] == 4 and rows["ffcv"][
        "images_per_s"
    ] == pytest.approx(0.4)
    assert (
        rows["passthrough"]["ratio_to_ffcv"] == pytest.approx(10)
        and rows["passthrough"]["ratio_to_ffcv_unchecked"] is None
    )
    assert rows["passthrough"]["cpu_ms_per_image"] == 250 and rows["ffcv"]["start_s"] == 10


def test_ffcvs_writer_writes_the_folder(tmp_path):
    # not importorskip: FFCV's Numba hangs at the end of a process that has forked
    if importlib.util.find_spec("ffcv") is None:
        pytest.skip("ffcv is not installed")
    _write(tmp_path / "images", 6)
    ffcv_unchecked(tmp_path / "images", tmp_path / "x.beton", 2)
    with BetonReader(tmp_path / "x.beton") as reader:
        assert sorted(reader.labels.tolist()) == [0, 0, 1, 1, 2, 3] and not reader.raw.any()
