"""The rows of the patch shuffle benchmark."""

from fastneg.recipes.bench import patch_shuffle as bench_patch_shuffle


def test_patch_shuffle_rows():
    rows = {
        row["contender"]: row
        for row in bench_patch_shuffle.bench_patch_shuffle(((2, 2, 32),), rounds=2)
    }
    assert set(rows) == {"fastneg", "copy", "slices"} and rows["copy"]["share_of_floor"] == 1
