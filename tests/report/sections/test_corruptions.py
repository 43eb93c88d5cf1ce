"""The curve of mean severity is over the published corruptions alone."""

from fastneg.report.sections import corruptions


def test_the_mean_curve_is_over_the_published_corruptions():
    row = {"by_corruption": {"fog": [5, 4, 3, 2, 1], "snow": [7, 6, 5, 4, 3], "spatter": [90] * 5}}
    assert corruptions.averaged({**row, "of_the_15": ["fog", "snow"]}) == [6, 5, 4, 3, 2]
    assert corruptions.averaged(row) == [34, 100 / 3, 98 / 3, 32, 94 / 3]
