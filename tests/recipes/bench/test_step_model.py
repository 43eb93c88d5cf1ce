"""A step on a GPU that is not there, from counted operators (fastneg.recipes.bench.gpus)."""

import csv

import pytest

from fastneg.config import ConfigError
from fastneg.recipes.bench import step_model
from fastneg.recipes.bench.gpus import GPUS, gpu_of
from fastneg.recipes.bench.registry import bench_config
from fastneg.recipes.bench.step import bench_step
from fastneg.recipes.bench.step_count import Op
from fastneg.recipes.bench.step_model import EXPECTED, Rates, made_beside, model_rows, step_on
from fastneg.recipes.presets import tiny_cpu

OPS = [
    Op("convolution", "forward", "convolutions", 10**9, 10**9),  # 1 ms of bytes
    Op("mm", "forward", "heads", 10**6, 4 * 10**12),  # 4 ms of operations
    Op("convolution_backward", "backward", "convolutions", 2 * 10**9, 0),
]
RATES = Rates(gb_s=1000.0, tflop_s=1000.0)


@pytest.fixture
def counted(monkeypatch):
    monkeypatch.setattr(step_model, "count_step", lambda config: OPS)
    monkeypatch.setattr(step_model, "made_beside", lambda config: [])


def test_each_term_takes_the_longer_of_its_bytes_and_its_operations(counted):
    rows = list(model_rows(tiny_cpu().replace(batch_size=70), RATES, "some"))
    terms = {row["term"]: row for row in rows if row["contender"] == "fastneg"}
    assert terms["convolutions"]["modelled_ms"] == pytest.approx(3)
    assert terms["convolutions"]["bound_by"] == "memory"
    assert terms["heads"]["modelled_ms"] == pytest.approx(4)
    assert terms["heads"]["bound_by"] == "operations"
    assert terms["all"]["modelled_ms"] == pytest.approx(7)
    assert terms["all"]["modelled_samples_per_s"] == pytest.approx(10_000)
    assert terms["all"]["expected_samples_per_s"] == pytest.approx(EXPECTED * 10_000)
    assert sum(terms[name]["share"] for name in ("convolutions", "heads")) == pytest.approx(1)
    wholes = [row["contender"] for row in rows if row["term"] == "all"]
    assert wholes == ["fastneg", "without_fused_bn", "without_split_bn"]


def test_the_step_of_the_scaling_model(counted, monkeypatch):
    monkeypatch.setattr(step_model.Rates, "of", lambda gpu: RATES)
    step_ms, backward_ms, gradients = step_on(tiny_cpu(), "H100")
    assert step_ms == pytest.approx(7 / EXPECTED) and backward_ms == pytest.approx(2 / EXPECTED)
    assert gradients > 10**5


def test_negatives_and_views_are_counted_beside():
    config = tiny_cpu().replace(batch_size=10, image_size=32, negatives_per_query=2)
    made = {op.name: op.bytes for op in made_beside(config)}
    assert made["negatives"] == 2 * 2 * 10 * 2 * 3 * 32 * 32
    assert made["views"] > 0
    assert {op.name for op in made_beside(config.replace(negatives="none"))} == {"views"}


def test_what_was_measured_stands_beside(counted, monkeypatch, tmp_path):
    folder = tmp_path / "docs" / "benchmarks"
    folder.mkdir(parents=True)
    fields = {"backbone": "resnet_tiny", "image_size": 32, "N": 70, "samples_per_s": 2e8}
    rows = [
        {"contender": "fastneg", "device_name": "NVIDIA H200", **fields},
        {"contender": "fastneg", "device_name": "NVIDIA A100-SXM4-80GB", **fields, "N": 64},
    ]
    with open(folder / "step-h200.csv", "w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    monkeypatch.setattr(step_model.checkout, "__file__", str(tmp_path / "fastneg" / "checkout.py"))
    config = tiny_cpu().replace(batch_size=70)
    wholes = lambda gpu: [row for row in bench_step([config], model=gpu) if row["term"] == "all"]
    ours, other, _ = wholes("H200")
    assert ours["measured_samples_per_s"] == 2e8 and other["measured_samples_per_s"] is None
    assert ours["share_of_model"] == pytest.approx(2e8 / ours["modelled_samples_per_s"])
    assert wholes("A100")[0]["measured_samples_per_s"] is None, "another batch is another step"


def test_a_gpu_is_faster_in_both_ways_or_told_apart():
    assert GPUS["H200"].reached_gb_s == pytest.approx(0.9 * 4800)
    assert GPUS["A100"].reached_tflop_s == pytest.approx(0.8 * 312)
    assert gpu_of("NVIDIA GeForce RTX 4090") == "RTX4090" and gpu_of("x86_64 CPU") is None


def test_the_flag_names_a_gpu_and_is_of_two_benchmarks():
    assert bench_config()("step", model="B200").model == "B200"
    assert bench_config()("scaling", model="B200").model == "B200"
    with pytest.raises(ConfigError, match="one of H100, H200"):
        bench_config()("step", model="V100")
    with pytest.raises(ConfigError, match="no effect with --name loader"):
        bench_config()("loader", model="H100")
