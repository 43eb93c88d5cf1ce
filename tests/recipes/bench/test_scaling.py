"""The scaling model against numbers worked by hand, and the measured rows of real gloo processes
(fastneg.recipes.bench.scaling)."""

import pytest

from fastneg.recipes.bench import scaling as bench_scaling_module
from fastneg.recipes.bench.scaling import bench_scaling
from fastneg.recipes.bench.scaling_model import (
    BUCKET_BYTES,
    Links,
    Step,
    inside_of,
    predict,
    where_it_stops,
)
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


def test_many_processes_reduce_in_trees():
    """1,024 of them: 20 hops, not 2,046; the gather stays a ring."""
    figures = predict(STEP, Links(100.0, 100.0, 10.0), 1024, 128)
    assert figures["reduce_ms"] == pytest.approx(2 * 1023 / 1024 + 20 * 0.01)
    assert figures["gather_ms"] == pytest.approx(1023 * (0.01 + 0.01))


def test_where_scaling_stops_and_why():
    row = {"exposed_ms": 1.0, "gather_ms": 9.0, "exchange_ms": 0.0}
    rows = [
        {"processes": 1, "efficiency": 1.0, **row},
        {"processes": 2, "efficiency": 0.91, **row},
        {"processes": 4, "efficiency": 0.89, **row},
    ]
    stops, queue = where_it_stops(rows, 256, 65536)
    assert stops.startswith("From 4 processes on") and "gather of the keys, 9.0 ms" in stops
    assert "at most 256 processes" in queue
    (scales,) = where_it_stops(rows[:2], 256, 0)
    assert scales.startswith("At 2 processes a step still has 91%")


def test_the_links_within_a_machine_are_those_of_the_gpu():
    assert inside_of(None, None) == 450 and inside_of(None, "A100") == 300
    assert inside_of(7.0, "A100") == 7


def test_a_modelled_gpu_stands_in_for_the_measured_step(monkeypatch):
    monkeypatch.setattr(
        "fastneg.recipes.bench.step_model.step_on", lambda config, gpu: (100.0, 50.0, 10**8)
    )
    rows = list(bench_scaling(None, 50.0, 5.0, 1.7, 110.0, model="H200"))
    assert not [row for row in rows if row["contender"].startswith("measured")]
    first = rows[0]
    assert first["device"] == "H200" and first["samples_per_s"] == pytest.approx(2560)
    assert first["inside_gb_s"] == 450


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
    rows = list(
        bench_scaling(
            450.0, 50.0, 5.0, 1.7, 110.0, config=config, processes=(1, 2), rounds=1, turns=1
        )
    )
    one, two = (row for row in rows if row["contender"] == "measured (gloo)")
    assert (one["processes"], two["processes"]) == (1, 2) and one["efficiency"] == 1
    assert two["samples_per_s"] == pytest.approx(1000 * 16 / two["step_ms"])
    assert two["gloo_gb_s"] > 0 and 0 < two["modelled_efficiency"] < 1
    modelled = [row for row in rows if row["contender"] == "modelled"]
    assert [row["processes"] for row in modelled] == [2**power for power in range(11)]
    last = modelled[-1]
    assert last["machines"] == 128 and last["batch"] == 1024 * 8
    assert last["loader_cores"] == pytest.approx(last["samples_per_s"] / 128 * 1.7e-3)
    assert last["disk_gb_s"] == pytest.approx(last["samples_per_s"] / 128 * 110e3 / 1e9)
    assert any("A queue of 16 keys" in row.get("note", "") for row in rows)
    assert any("all-reduce as a ring" in row.get("note", "") for row in rows), (
        "the assumptions are printed with the figures"
    )
