"""A layout of corrupted images from outside the package says where they lie; how they are scored is
shared."""

from pathlib import Path

import pytest

from fastneg.evaluation.sets import register
from fastneg.evaluation.sets.corrupted import CorruptedKind, missing_of
from fastneg.evaluation.sets.registry import KINDS, kind_of
from helpers.encoder_runs import evaluate
from helpers.tinted import make_beton


class Flat(CorruptedKind):
    """PATH/<corruption>-<severity>.beton, all in one folder."""

    place_of = "{path}/{name}-{severity}.beton"

    def root(self, path):
        return path if list(Path(path).glob("*-?.beton")) else None

    def places(self, root):
        files = sorted(Path(root).glob("*-?.beton"))
        return {tuple(file.stem.rsplit("-", 1)): file for file in files}

    def published(self, root):
        found = self.places(root).items()
        return {("fog", int(level)): file for (name, level), file in found if name == "fog"}


@pytest.fixture
def flat(tmp_path):
    before = list(KINDS)
    register(Flat())
    (tmp_path / "flat").mkdir()
    for name in ("fog-1", "fog-2", "fog-3", "fog-4", "fog-5", "mist-1", "mist-2"):
        make_beton(tmp_path / "flat" / f"{name}.beton", 4)
    yield tmp_path / "flat"
    KINDS[:] = before


def test_a_layout_of_ones_own_is_scored_as_the_others(flat, probed, lines, capsys):
    assert isinstance(kind_of(flat), Flat)
    assert evaluate(probed, f"flat={flat}") == 1, "14 corruptions are missing"
    whole, tree = lines()
    assert (whole["kind"], tree["kind"]) == ("corruptions", "corruption_tree")
    assert list(whole["by_corruption"]) == ["fog"] and whole["images"] == 4
    assert list(tree["by_corruption"]["mist"]) == ["1", "2"]
    assert whole["resize"] == "none" and "files of flat, whole at 32 px" in whole["source"]
    streams = capsys.readouterr()
    assert f"{flat}/gaussian_noise-<1-5>.beton was expected" in streams.err
    assert "flat under corruptions: top-1" in streams.out


def test_what_is_missing_is_told_by_corruption():
    cells = {("fog", severity) for severity in (1, 2, 4)}
    absent, lacking = missing_of(cells, "x", "{path}/{name}/{severity}")
    assert "14 of the 15 corruptions are not there" in absent and "fog" not in absent
    assert "fog counts in no mean: it lacks severity 3, 5; x/fog/3 was expected." in lacking
