"""The benchmarks measure every contender in the same run and say so in rows; none of them asserts a time (fastneg.recipes.measuring)."""

import csv
import json

import pytest

from fastneg.config import BenchConfig
from fastneg.recipes import bench
from fastneg.recipes.bench_corruptions import bench_corruptions
from fastneg.recipes.bench_loader import bench_loader
from fastneg.recipes.measuring import figures_of, take_turns


def test_the_loader_is_measured_beside_torchvision():
    rows = {row["contender"]: row for row in bench_loader(rounds=1, images=24, batch_size=8)}
    assert set(rows) == {"fastneg", "torchvision_pil"}
    for row in rows.values():
        assert row["images_per_s"] > 0 and row["cpu_ms_per_image"] > 0
    assert rows["torchvision_pil"]["ratio_to_torchvision"] == 1
    assert rows["fastneg"]["ratio_to_torchvision"] == pytest.approx(
        rows["fastneg"]["images_per_s"] / rows["torchvision_pil"]["images_per_s"]
    )


def test_rows_are_printed_and_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "BENCHES", {"loader": lambda: iter([{"bench": "loader", "contender": "x", "images_per_s": 12.3456}])})
    assert bench.run_bench(BenchConfig("loader", json=str(tmp_path / "rows.jsonl"), csv=str(tmp_path / "rows.csv"))) == 0
    (row,) = (json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines())
    assert row["images_per_s"] == 12.3456 and row["device_name"] and "torch" in row["versions"]
    (line,) = csv.DictReader((tmp_path / "rows.csv").open())
    assert float(line["images_per_s"]) == 12.3456 and line["commit"] == (row["commit"] or "") and line["torch_version"]
    assert "images_per_s=12.35" in capsys.readouterr().out


def test_a_benchmark_without_rows_fails(monkeypatch, capsys):
    monkeypatch.setattr(bench, "BENCHES", {"loader": lambda: iter(())})
    assert bench.run_bench(BenchConfig("loader")) == 1
    assert "no row" in capsys.readouterr().err


def test_corruptions_are_measured_beside_the_package(monkeypatch):
    for name, value in (("SIZE", 48), ("BATCH", 2), ("CORRUPTIONS", ("contrast", "glass_blur", "spatter"))):
        monkeypatch.setattr(f"fastneg.recipes.bench_corruptions.{name}", value)
    rows = list(bench_corruptions(rounds=1))
    by = {(row["contender"], row["corruption"], row.get("severity")): row["ms_per_image"] for row in rows}
    assert len(rows) == len(by) == 2 * 3 * 5 + 4
    for contender in ("fastneg", "imagecorruptions"):
        parts = [by[contender, kind, severity] for kind in ("contrast", "glass_blur") for severity in (1, 2, 3, 4, 5)]
        assert by[contender, "all", None] == pytest.approx(sum(parts))
        assert by[contender, "all but glass_blur", None] == pytest.approx(sum(parts[:5]))


def test_contenders_take_turns_and_the_first_round_warms_up():
    calls = []
    times = take_turns({name: lambda name=name: calls.append(name) for name in "ab"}, 2, "cpu")
    assert calls == ["a", "b"] * 3 and {name: len(found) for name, found in times.items()} == {"a": 2, "b": 2}
    assert figures_of([5.0, 1.0, 2.0, 3.0, 4.0, 6.0]) == {"ms_median": 3.5, "ms_p20": 2.0, "ms_p80": 5.0}
