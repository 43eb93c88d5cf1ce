"""The loss benchmark: its rows and its plot."""

import pytest

from fastneg.recipes.bench import info_nce as bench_info_nce
from fastneg.recipes.bench.info_nce_contenders import contenders
from helpers.contenders import DEVICE


def test_info_nce_rows_and_plot(tmp_path, monkeypatch):
    peaks = lambda device, name, shape, which, runner: (
        None if which == "backward" else len(name) * shape[1] / 100
    )
    # a process for each figure: see the next test
    monkeypatch.setattr(bench_info_nce, "_peak_mib", peaks)
    shapes = ((8, 64, 16), (8, 128, 16), (16, 64, 16))
    rows = list(bench_info_nce.bench_info_nce(shapes, rounds=2))
    measured = [row for row in rows if "skipped" not in row]
    per_shape = len(contenders(DEVICE)[0])
    assert {row["pass"] for row in measured} == {"forward", "backward", "forward_backward"}
    assert len(measured) >= 3 * 3 * per_shape and {
        "fastneg",
        "eager",
        "scaled_dot_product_attention",
    } <= {row["contender"] for row in measured}
    for row in measured:
        assert 0 < row["ms_p20"] <= row["ms_median"] <= row["ms_p80"]
        assert (
            (row["share_of_floor"] is None)
            == (row["peak_mib"] is None)
            == (row["pass"] == "backward")
        )
        assert row["contender"] != "eager" or row["times_faster_than_eager"] == 1
    bench_info_nce.plot_info_nce(rows, tmp_path / "plot.svg")
    text = (tmp_path / "plot.svg").read_text()
    assert text.startswith("<?xml") and len(text) > 10_000
    with pytest.raises(ValueError, match="no rows to draw"):
        bench_info_nce.plot_info_nce(
            [row for row in rows if row["pass"] == "forward"], tmp_path / "none.svg"
        )


def test_the_extra_memory_of_the_streaming_path_is_a_tenth_of_eagers():
    """Forward and backward, each in a fresh process. The matrix of logits alone is 128 MiB here."""
    shape = (512, 65536, 128)
    peaks = {
        name: bench_info_nce._peak_mib("cpu", name, shape, "forward_backward", None)
        for name in ("fastneg", "eager")
    }
    assert peaks["fastneg"] is None or peaks["fastneg"] <= peaks["eager"] / 10
