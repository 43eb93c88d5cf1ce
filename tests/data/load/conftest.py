"""Shared by the tests of loading."""

import pytest

from fastneg.data import BetonReader


@pytest.fixture(scope="module")
def reader(beton):
    with BetonReader(beton) as opened:
        yield opened
