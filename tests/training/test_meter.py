"""Means over the steps since the last reading, and the share of time that a step waits for data."""

import time

import pytest
import torch

from fastneg.distributed import World
from fastneg.training.meter import Clock, Meter


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


def test_clock_tells_waiting_from_working():
    def slow():
        for item in range(3):
            time.sleep(0.05)
            yield item

    clock = Clock()
    seen = []
    for item in clock.wait(slow()):
        seen.append(item)
        clock.count(10)
        time.sleep(0.05)
    figures = clock.read()
    assert seen == [0, 1, 2]
    assert figures["data_wait_share"] == pytest.approx(0.5, abs=0.15)
    assert 50 < figures["images_per_s"] < 30 / 0.3
    assert clock.read()["images_per_s"] == 0


def test_a_paused_clock_stands_still():
    clock = Clock()
    with clock.paused():
        time.sleep(0.3)
    clock.count(1)
    assert clock.read()["images_per_s"] > 1 / 0.3
