"""The benchmarks measure every contender in the same run and say so in rows; none of them asserts a
time (fastneg.recipes.bench.measuring)."""

import csv
import json

import numpy as np
import pytest
import torch

from fastneg.config import BenchConfig
from fastneg.data import BetonReader
from fastneg.recipes.bench import order
from fastneg.recipes.bench import run as bench
from fastneg.recipes.bench.corruptions import bench_corruptions
from fastneg.recipes.bench.loader import bench_loader, plot_loader
from fastneg.recipes.bench.loader_contenders import CONTENDERS, loop_of_patches
from fastneg.recipes.bench.measuring import figures_of, take_turns


def test_the_loaders_are_measured_beside_each_other(tmp_path):
    names = [name for name in CONTENDERS if name != "ffcv"]  # it compiles for half a minute
    found = list(
        bench_loader(
            rounds=1, images=24, batch_size=8, contenders={name: CONTENDERS[name] for name in names}
        )
    )
    rows = {row["contender"]: row for row in found if row["hw_decoder_load"] is None}
    assert list(rows) == names
    for name, row in rows.items():
        assert row["images_per_s"] > 0 and row["cpu_ms_per_image"] > 0
        assert row["compared_with"] == ("published_patch" if "patch" in name else "torchvision_pil")
        assert row["ratio"] == pytest.approx(
            row["images_per_s"] / rows[row["compared_with"]]["images_per_s"]
        )
    plot_loader(found, tmp_path / "loader.svg")
    assert (tmp_path / "loader.svg").read_text()[:5] == "<?xml"
    with pytest.raises(ValueError, match="no rows"):
        plot_loader([], tmp_path / "empty.svg")


def test_a_contender_that_is_not_installed_is_said_to_be_skipped(monkeypatch):
    monkeypatch.setattr(
        "fastneg.recipes.bench.loader_contenders.importlib.util.find_spec", lambda name: None
    )
    rows = {
        row["contender"]: row
        for row in bench_loader(
            1, 8, 4, {name: CONTENDERS[name] for name in ("decode_only", "ffcv")}
        )
    }
    assert "not installed" in rows["ffcv"]["skipped"] and "skipped" not in rows["decode_only"]


def test_the_published_patches_are_patches_of_the_view(monkeypatch):
    monkeypatch.setattr("fastneg.recipes.bench.loader_contenders.PATCH_SIZES", (5, 6))
    view = torch.arange(3 * 24 * 24, dtype=torch.float32).view(3, 24, 24)
    tiled = loop_of_patches(view)
    assert tiled.shape == view.shape
    for top in range(0, 20, 5):
        for left in range(0, 20, 5):
            patch = tiled[:, top : top + 5, left : left + 5]
            row, column = divmod(int(patch[0, 0, 0]), 24)
            assert torch.equal(patch, view[:, row : row + 5, column : column + 5])


def test_orders_are_measured_from_a_file_that_is_not_in_memory(tmp_path):
    rows = list(order.bench_order(rounds=1, gigabytes=0.01, batch_size=32, folder=tmp_path))
    limits = ["pread_sequential", "pread_random_1", "pread_random_16"]
    assert [row["contender"] for row in rows] == 2 * (list(order.READINGS) + limits)
    for row in rows:
        assert row["images_per_s"] > 0 and 0 <= row["resident_share"] <= 1
        assert row["ratio_to_random"] > 0 and (
            row["contender"] != "random" or row["ratio_to_random"] == 1
        )
        assert row["ratio_to_on_demand"] > 0 and (
            row["contender"] != "random_on_demand" or row["ratio_to_on_demand"] == 1
        )
    assert not list(tmp_path.iterdir())


def test_what_an_order_bench_forgets_is_not_in_memory_and_what_is_announced_stays(tmp_path):
    """fastneg.recipes.bench.order drops what a set larger than memory would not keep."""
    path = tmp_path / "x.beton"
    order._write(path, 64, 60_000)
    if order._drop_from_cache(path):
        pytest.skip("this file system keeps its files in memory")
    with BetonReader(path) as reader:
        reader.will_need(np.arange(64))
        assert sum(int(reader.stored(i).sum()) for i in range(64))
        order._forget(path, reader, np.arange(20, 40))
        share = 20 * 60_000 / path.stat().st_size
    assert abs(order.resident_share(path) - share) < 0.02


def test_rows_are_printed_and_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        bench,
        "BENCHES",
        {"order": lambda: iter([{"bench": "order", "contender": "x", "images_per_s": 12.3456}])},
    )
    assert (
        bench.run_bench(
            BenchConfig("order", json=str(tmp_path / "rows.jsonl"), csv=str(tmp_path / "rows.csv"))
        )
        == 0
    )
    (row,) = (json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines())
    assert row["images_per_s"] == 12.3456 and row["device_name"] and "torch" in row["versions"]
    (line,) = csv.DictReader((tmp_path / "rows.csv").open())
    assert (
        float(line["images_per_s"]) == 12.3456
        and line["commit"] == (row["commit"] or "")
        and line["torch_version"]
    )
    assert "images_per_s=12.35" in capsys.readouterr().out


def test_a_benchmark_without_rows_fails(monkeypatch, capsys):
    monkeypatch.setattr(bench, "BENCHES", {"loader": lambda: iter(())})
    assert bench.run_bench(BenchConfig("loader")) == 1
    assert "no row" in capsys.readouterr().err


def test_corruptions_are_measured_beside_the_package(monkeypatch):
    for name, value in (
        ("SIZE", 48),
        ("BATCH", 2),
        ("CORRUPTIONS", ("contrast", "glass_blur", "spatter")),
    ):
        monkeypatch.setattr(f"fastneg.recipes.bench.corruptions.{name}", value)
    rows = list(bench_corruptions(rounds=1))
    by = {
        (row["contender"], row["corruption"], row.get("severity")): row["ms_per_image"]
        for row in rows
    }
    assert len(rows) == len(by) == 2 * 3 * 5 + 4
    for contender in ("fastneg", "imagecorruptions"):
        parts = [
            by[contender, kind, severity]
            for kind in ("contrast", "glass_blur")
            for severity in (1, 2, 3, 4, 5)
        ]
        assert by[contender, "all", None] == pytest.approx(sum(parts))
        assert by[contender, "all but glass_blur", None] == pytest.approx(sum(parts[:5]))


def test_contenders_take_turns_and_the_first_round_warms_up():
    calls = []
    times = take_turns({name: lambda name=name: calls.append(name) for name in "ab"}, 2, "cpu")
    assert calls == ["a", "b"] * 3 and {name: len(found) for name, found in times.items()} == {
        "a": 2,
        "b": 2,
    }
    assert figures_of([5.0, 1.0, 2.0, 3.0, 4.0, 6.0]) == {
        "ms_median": 3.5,
        "ms_p20": 2.0,
        "ms_p80": 5.0,
    }
