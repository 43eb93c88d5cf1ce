"""The lines of corrupted images: what counts in a mean, and how they are told."""

from types import SimpleNamespace

from fastneg.evaluation.corruptions import ALL_15
from fastneg.evaluation.sets.corruption_lines import published_lines, told, tree_line

COMMON = {"set": "c", "source": "files of x"}
CONTEXT = SimpleNamespace(clean_top1=None, report=lambda text: None)


def result(top1, images=10):
    return SimpleNamespace(top1=top1, images=images, classes=4)


def test_corruptions_with_some_severities_count_in_no_mean():
    results = {(name, level): result(50.0) for name in ALL_15 for level in range(1, 6)}
    del results["fog", 3]
    (whole, parts), problems = published_lines(results, COMMON, CONTEXT)
    assert not problems and whole["images"] == 10 and whole["classes"] == 4
    assert whole["mean_top1"] is None and whole["partial_mean_top1"] == 50.0
    assert "fog" not in whole["by_corruption"]
    assert parts["by_corruption"] == {"fog": dict.fromkeys("1245", 50.0)}
    mean, *_, fog = [*told(whole)[:1], *told(parts)]
    assert mean.startswith("c under corruptions: top-1 50.00%, the mean over 5 severities of 14 of")
    assert fog.split() == ["fog", "50.0", "50.0", "–", "50.0", "50.0"]


def test_other_numbers_of_images_are_told():
    results = {("fog", level): result(50.0, images=10 + level) for level in range(1, 6)}
    (whole,), problems = published_lines(results, COMMON, CONTEXT)
    assert whole["images"] == 11 and whole["images_by_corruption"]["fog"]["5"] == 15
    assert len(problems) == 1 and "11 and more in each" in problems[0]


def test_a_severity_that_was_not_read_costs_a_tree_s_corruption_its_mean():
    results = {("mist", "1"): result(40.0), ("mist", "2"): result(60.0), ("haze", "1"): result(9.0)}
    line, problems = tree_line(results, [*results, ("haze", "2")], COMMON, CONTEXT)
    assert not problems and line["tree_mean_top1"] == 50.0 and line["corruptions"] == ["mist"]
    assert line["by_corruption"]["haze"] == {"1": 9.0}
    assert (
        told(line)[0]
        == "c under corruptions: top-1 50.00%, the mean over 1 corruptions, files of x"
    )
