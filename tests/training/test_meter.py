"""Means over the steps since the last reading; the share of time that a step waits for data;
histograms of similarities against numpy's, and in a run."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fastneg.distributed import World
from fastneg.methods.output import sample_rows
from fastneg.training import profile
from fastneg.training.meter import BINS, Clock, Meter, edges, histograms
from fastneg.training.trainer import pretrain
from helpers.pretraining import TIMES, rows, settings


def test_meter_reads_means_and_forgets():
    meter = Meter()
    for value in (1.0, 2.0, 6.0):
        meter.add(
            {"loss": torch.tensor(value), "acc1": torch.tensor(10 * value, dtype=torch.float64)}
        )
    assert meter.read(lambda values: values) == {"loss": 3.0, "acc1": 30.0}
    meter.add({"loss": torch.tensor(4.0)})
    assert meter.read(lambda values: values * 2) == {"loss": 8.0}


def test_accuracies_of_an_earlier_version_become_shares():
    meter, world = Meter(), World(0, 1, torch.device("cpu"))
    meter.add({"acc1": torch.tensor(0.5), "loss": torch.tensor(3.0)})
    state = meter.state(lambda rows: rows)
    before = {"names": state["names"], "rows": torch.tensor([[[50.0, 3.0]]])}
    for each in (state, before):
        meter.load(each, world)
        assert meter.read(lambda values: values) == {"acc1": 0.5, "loss": 3.0}


@pytest.fixture
def goes_on(monkeypatch):
    """goes_on(seconds): so much time passes for the clocks, which are otherwise still."""
    now = [100.0]
    monkeypatch.setattr("fastneg.training.meter.time", SimpleNamespace(perf_counter=lambda: now[0]))

    def pass_by(seconds):
        now[0] += seconds

    return pass_by


def test_clock_tells_waiting_from_working(goes_on):
    def slow():
        for item in range(3):
            goes_on(0.04)
            yield item

    clock = Clock()
    seen = []
    for item in clock.wait(slow()):
        seen.append(item)
        clock.count(10)
        goes_on(0.06)
    figures = clock.read()
    assert seen == [0, 1, 2]
    assert figures["data_wait_share"] == pytest.approx(0.4)
    assert figures["images_per_s"] == pytest.approx(30 / 0.3)
    goes_on(1.0)
    assert clock.read()["images_per_s"] == 0


def test_a_paused_clock_stands_still(goes_on):
    clock = Clock()
    goes_on(0.5)
    with clock.paused():
        goes_on(0.3)
    clock.count(1)
    assert clock.read()["images_per_s"] == pytest.approx(1 / 0.5)


def test_the_time_of_a_step_is_split(goes_on):
    clock = Clock()
    for _ in clock.wait(iter([1, 2])):
        with clock.step():
            goes_on(0.1)
        clock.count(5)
    goes_on(0.1)  # waiting for the device, say
    figures = clock.read(steps_left=10)
    assert set(figures) == set(TIMES) - {"device_ms"}, "there is no other device"
    assert figures["host_ms"] == pytest.approx(100) and figures["step_ms"] == pytest.approx(150)
    assert figures["data_wait_ms"] == 0
    assert figures["eta_s"] == pytest.approx(10 * figures["step_ms"] / 1000)
    goes_on(1.0)
    assert "step_ms" not in clock.read(), "without steps there is nothing to tell"


class Event:
    """In place of a CUDA event, recorded where the fake device's clock stands."""

    now = 0.0

    def __init__(self, enable_timing):
        assert enable_timing
        self.waited = False

    def record(self):
        self.at = Event.now

    def elapsed_time(self, other):
        assert other.waited or Event.read
        return other.at - self.at

    def synchronize(self):
        self.waited = Event.read = True

    read = False


def test_the_device_is_timed_by_events_that_nothing_waits_for(monkeypatch):
    monkeypatch.setattr(profile.torch.cuda, "Event", Event)
    clock = Clock(torch.device("cuda", 0))
    for spent in (3.0, 5.0):
        with clock.step():
            Event.now += spent
        Event.now += 100.0  # between steps
        assert not Event.read
    assert clock.read()["device_ms"] == 4.0


def test_counts_are_numpys():
    # clear of the edges
    inside = lambda *shape: (
        (torch.randint(0, BINS, shape) + 0.1 + 0.8 * torch.rand(shape)) * 2 / BINS - 1
    )
    values = {"positive": inside(77), "queue": inside(6, 50)}
    counts = histograms(values)
    assert (
        counts.shape == (2, BINS)
        and len(edges()) == BINS + 1
        and edges()[0] == -1
        and edges()[-1] == 1
    )
    for row, kind in zip(counts, values, strict=True):
        assert np.array_equal(row, np.histogram(values[kind].double(), BINS, (-1, 1))[0])


def test_what_rounding_put_beyond_the_ends_is_counted():
    counts = histograms({"positive": torch.tensor([1.0000001, 1.0, -1.0000001, 0.0]).bfloat16()})[0]
    assert counts[0] == 1 and counts[-1] == 2 and counts.sum() == 4


def test_sampled_rows_are_spread_over_all():
    assert sample_rows(torch.arange(1000), 4).tolist() == [0, 250, 500, 750]
    assert sample_rows(torch.arange(3), 4).tolist() == [0, 1, 2]


def test_a_run_logs_them_once_an_epoch(beton, tmp_path):
    pretrain(settings(beton, tmp_path / "run", epochs=2, log_every=2))
    found = rows(tmp_path / "run", "similarities")
    assert [row["step"] for row in found] == [4, 10]
    for row in found:
        assert (row["low"], row["high"]) == (-1.0, 1.0)
        assert (
            sum(row["positive"]) == 8 and sum(row["queue"]) == 8 * 20 and sum(row["negative"]) == 8
        )
    ages = [row["queue_age_steps"] for row in rows(tmp_path / "run")]
    assert ages == [2, 2.5, 2.5, 2.5, 2.5]
