"""The benchmarks measure every contender in the same run and say so in rows; none of them asserts a
time (fastneg.recipes.bench.measuring)."""

import csv
import json

from fastneg.recipes.bench import run as bench
from fastneg.recipes.bench.registry import Bench, BenchConfig
from fastneg.recipes.cli import main


def test_rows_are_printed_and_written(tmp_path, monkeypatch, capsys):
    row = {"bench": "order", "contender": "x", "images_per_s": 12.3456}
    monkeypatch.setattr(Bench, "load", lambda bench: (lambda: iter([row]), None))
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
    monkeypatch.setattr(Bench, "load", lambda bench: (lambda: iter(()), None))
    assert bench.run_bench(BenchConfig("loader")) == 1
    assert "no row" in capsys.readouterr().err


def test_an_unknown_benchmark_is_refused(capsys):
    assert main(["bench", "x"]) == 2
    assert "Benchmarks: info_nce, pairs, patch_shuffle" in capsys.readouterr().err
