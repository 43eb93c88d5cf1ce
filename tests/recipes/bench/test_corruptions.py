"""Corruptions are measured beside the package of the same."""

import pytest

from fastneg.recipes.bench.corruptions import bench_corruptions


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
