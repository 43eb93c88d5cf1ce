"""The scaling model against numbers worked by hand, and the measured rows of real gloo processes
(fastneg.recipes.bench.scaling)."""

import pytest

from fastneg.recipes.bench import scaling as bench_scaling_module
from fastneg.recipes.bench.scaling import bench_scaling
from fastneg.recipes.bench.scaling_model import BUCKET_BYTES, Links, Step, predict
from fastneg.recipes.presets import tiny_cpu

LINKS = Links(inside_gb_s=100.0, between_gb_s=10.0, latency_us=0.0)
STEP = Step(step_ms=100.0, backward_ms=50.0, gradient_bytes=100_000_000, gathered_bytes=1_000_000)


def test_one_process_alone():
    assert predict(STEP, LINKS, 1) == {
        "step_ms": 100,
        "reduce_ms": 0,
        "exposed_ms": 0,
        "gather_ms": 0,
        "exchange_ms": 0,
        "efficiency": 1,
    }


def test_what_the_backward_pass_hides():
    figures = predict(STEP, LINKS, 4)
    assert figures["reduce_ms"] == pytest.approx(1.5)  # 2 · 3/4 · 1e8 bytes at 1e8 bytes/ms
    assert figures["exposed_ms"] == pytest.approx(1.5 * BUCKET_BYTES / 1e8)
    assert figures["gather_ms"] == pytest.approx(0.03)
    assert figures["step_ms"] == pytest.approx(100 + figures["exposed_ms"] + 0.03)
    assert figures["efficiency"] == pytest.approx(100 / figures["step_ms"])


def test_between_machines_the_slower_link_counts():
    slow = Links(100.0, 0.5, 0.0)
    assert predict(STEP, slow, 8, 2)["reduce_ms"] == pytest.approx(2 * 7 / 8 * 1e8 / 5e5)
    assert predict(STEP, slow, 8, 2)["exposed_ms"] == pytest.approx(350 - 50)


def test_latency_and_exchanged_images():
    step = Step(100.0, 50.0, 1_000_000, 0, exchanged_bytes=10_000_000)
    figures = predict(step, Links(100.0, 10.0, 10.0), 2)
    assert figures["reduce_ms"] == pytest.approx(0.01 + 2 * 0.01)
    assert figures["exchange_ms"] == pytest.approx(0.05 + 0.01)


def test_processes_divide_over_machines():
    with pytest.raises(ValueError, match="multiple"):
        predict(STEP, LINKS, 9, 2)


def test_a_machine_that_slows_down_does_not_look_like_poor_scaling(monkeypatch):
    """Every number of processes has its turns, in the one order and in the other."""
    asked = []

    def run(config, size, data, folder, rounds):
        asked.append(size)
        slowness = 2.0 ** len(asked)
        return Step(slowness * (1.0 + 0.25 * (size > 1)), 1.0, 1000, 10), 1.0

    monkeypatch.setattr(bench_scaling_module, "_run_processes", run)
    monkeypatch.setattr(bench_scaling_module, "bench_data", lambda *_: None)
    one, two = bench_scaling_module._measured_rows(tiny_cpu(), [1, 2], 1, turns=3)
    assert asked == [1, 2, 2, 1, 1, 2]
    # of 1/2.5, 1/0.625 and 1/2.5
    assert one["efficiency"] == 1 and two["efficiency"] == pytest.approx(1 / 2.5)


def test_measured_beside_modelled():
    config = tiny_cpu().replace(
        image_size=32,
        eval_resize=32,
        batch_size=8,
        queue_size=16,
        feature_dim=16,
        patch_min=4,
        patch_max=12,
        threads=1,
        bn_splits=2,
    )
    rows = list(bench_scaling(450.0, 50.0, 5.0, config=config, processes=(1, 2), rounds=1, turns=1))
    one, two = (row for row in rows if row["contender"] == "measured (gloo)")
    assert (one["processes"], two["processes"]) == (1, 2) and one["efficiency"] == 1
    assert two["samples_per_s"] == pytest.approx(1000 * 16 / two["step_ms"])
    assert two["gloo_gb_s"] > 0 and 0 < two["modelled_efficiency"] < 1
    modelled = [row for row in rows if row["contender"] == "modelled"]
    assert [row["processes"] for row in modelled] == [1, 2, 4, 8, 16, 32, 64] and modelled[-1][
        "machines"
    ] == 8
    assert any("ring all-reduce" in row.get("note", "") for row in rows), (
        "the assumptions are printed with the figures"
    )
