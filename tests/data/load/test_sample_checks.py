"""Samples that DALI is not given, each with the reason; what a loader does then:
test_quarantine.py."""

import numpy as np
import pytest
import torch

from fastneg.data import BetonError, BetonReader, BetonWriter
from fastneg.data.load.request import Request
from fastneg.data.load.sample_checks import SampleChecks
from helpers.images import jpeg, photo

CPU = torch.device("cpu")
GOOD = jpeg(photo(np.random.default_rng(0), 24, 32))
CUT = GOOD[:300]  # within its tables: the header cannot be read to its end


def reader(tmp_path, *samples, textures=None, **options):
    paired = ("texture",) if textures else ()
    with BetonWriter(tmp_path / "x.beton", (), paired_fields=paired, **options) as writer:
        for data, texture in zip(samples, textures or samples, strict=True):
            pair = {"texture": (texture, 24, 32)} if textures else None
            writer.add(data, 24, 32, paired=pair)
    return BetonReader(tmp_path / "x.beton")


def test_a_header_that_cannot_be_read_is_refused_and_a_good_one_is_read_once(tmp_path, monkeypatch):
    with reader(tmp_path, GOOD, CUT, GOOD) as data:
        checks = SampleChecks(data, False, False, CPU)
        bad = checks.refused(np.array([0, 1, 2]))
        assert list(bad) == [1] and "cannot be decoded" in bad[1]
        monkeypatch.setattr("fastneg.data.load.sample_checks.size_by_header", None)
        assert checks.refused(np.array([2, 0])) == {}


def test_another_size_than_the_file_says(tmp_path):
    wide = jpeg(photo(np.random.default_rng(0), 24, 40))
    with reader(tmp_path, wide) as data:
        said = "it decodes to 40×24 pixels, the file says 32×24"
        assert SampleChecks(data, False, False, CPU).refused(np.array([0])) == {0: said}


def test_a_texture_is_looked_at_too(tmp_path):
    with reader(tmp_path, GOOD, GOOD, textures=[GOOD, CUT]) as data:
        bad = SampleChecks(data, True, False, CPU).refused(np.array([0, 1]))
        assert list(bad) == [1] and bad[1].startswith("its texture: it cannot be decoded")
        request = Request(np.array([0, 1]), [], 8, {})
        encoded = [[data.encoded(i, field) for i in range(2)] for field in data.image_fields]
        assert SampleChecks(data, True, False, CPU).undecodable(request, *encoded) == bad
        assert SampleChecks(data, False, False, CPU).undecodable(request, encoded[0], []) == {}


def test_checksums_are_compared_every_time(tmp_path):
    with reader(tmp_path, GOOD, GOOD) as data:
        checks = SampleChecks(data, False, True, CPU)
        assert checks.refused(np.array([0, 1])) == {}
        data.checksums[1] += 1
        assert "fails its checksum" in checks.refused(np.array([0, 1]))[1]


def test_what_the_file_lacks(tmp_path):
    with reader(tmp_path, GOOD, checksums=False) as data:
        with pytest.raises(BetonError, match="holds no checksums"):
            SampleChecks(data, False, True, CPU)
        with pytest.raises(BetonError, match="holds no textures"):
            SampleChecks(data, True, False, CPU)
