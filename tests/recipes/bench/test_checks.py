"""What each check of an image finds is measured."""

import pytest

from fastneg.data import BetonError
from fastneg.data.encode.prepare import prepare
from fastneg.recipes.bench.checks import CHECKS, DAMAGES, KINDS, bench_checks


def test_what_each_check_finds_is_measured(monkeypatch):
    rows = list(bench_checks(files=8))
    assert len(rows) == len(CHECKS) * len(KINDS) * len(DAMAGES)
    found = {(row["contender"], row["jpeg"], row["damage"]): row["found_share"] for row in rows}
    for kind in KINDS:
        assert found["markers", kind, "cut anywhere"] == found["decode", kind, "cut anywhere"] == 1
        assert all(
            found["decode", kind, damage] >= found["markers", kind, damage] for damage in DAMAGES
        )
    assert (
        found["markers", "restart markers", "4096 bytes lost"]
        == 1
        > found["decoder alone", "restart markers", "4096 bytes lost"]
    )
    monkeypatch.setitem(CHECKS, "decoder alone", lambda data: prepare(data[:-9]))
    with pytest.raises(BetonError, match="the check decoder alone refuses 8 of 8 whole JPEGs"):
        list(bench_checks(files=8))
