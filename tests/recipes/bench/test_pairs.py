"""The benchmark of SigLIP's and CLIP's loss: its rows on a CPU."""

from fastneg.recipes.bench.pairs import PRODUCTS, bench_pairs
from fastneg.recipes.bench.pairs_contenders import CONTENDERS


def test_rows_of_a_small_shape():
    rows = list(bench_pairs(pairs="24x8", rounds=2))
    measured = [row for row in rows if "ms_median" in row]
    assert {(row["loss"], row["contender"], row["pass"]) for row in measured} == {
        (loss, name, which)
        for loss, functions in CONTENDERS.items()
        for name in functions
        if name not in ("inf_cl", "siglip_kernel")
        for which in ("forward", "forward_backward")
    }
    assert all(
        (row["N"], row["D"]) == (24, 8) and row["ms_p20"] <= row["ms_p80"] for row in measured
    )
    assert all(
        row["times_faster_than_eager"] == 1 for row in measured if row["contender"] == "eager"
    )
    said = {row["contender"] for row in rows if row.get("skipped")}
    assert said == {"inf_cl", "siglip_kernel", "torch_compile"}


def test_the_floor_is_that_of_products_made_once():
    rows = list(bench_pairs(pairs=((24, 8),), rounds=2))
    shares = {
        (row["loss"], row["pass"] != "forward"): row["share_of_floor"] * row["ms_median"]
        for row in rows
        if row["contender"] == "fastneg"
    }
    one = shares["siglip", False] / 2
    for key, operations in PRODUCTS.items():
        assert abs(shares[key] / one - operations) < 1e-9
