"""Orders are measured from a file that is not in memory."""

import numpy as np
import pytest

from fastneg.data import BetonReader
from fastneg.recipes.bench import order


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
