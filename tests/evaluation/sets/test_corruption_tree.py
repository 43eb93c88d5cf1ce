"""Trees of other corruptions and severities: means over what is there, never called mCE."""

import pytest

from fastneg.evaluation.sets.corruption_tree import find_tree, tree_root
from fastneg.evaluation.sets.imagenet_c import ImageNetC
from fastneg.evaluation.sets.labelled import LabelledKind
from fastneg.evaluation.sets.registry import kind_of
from fastneg.runs.results import misfit
from helpers.encoder_runs import evaluate
from helpers.tinted import make_cell


def test_a_tree_of_any_names_and_severities(probed, lines, tmp_path, capsys):
    """ImageNet-C-bar writes its severities as fractions; fog_3d is right at one severity of two."""
    root = tmp_path / "imagenet-3dcc"
    make_cell(root / "near_focus" / "1")
    make_cell(root / "fog_3d" / "1")
    make_cell(root / "fog_3d" / "5", swapped=True)
    make_cell(root / "plasma_noise" / "2.35", swapped=True)
    (root / "plasma_noise" / "10.0").mkdir()
    assert evaluate(probed, f"bar={root}") == 0, "nothing of it is missing"
    [row] = lines()
    assert row["kind"] == "corruption_tree" and row["images"] == 4 and misfit(row) is None
    assert row["by_corruption"] == {
        "fog_3d": {"1": 100.0, "5": 0.0},
        "near_focus": {"1": 100.0},
        "plasma_noise": {"2.35": 0.0},
    }
    assert row["tree_mean_top1"] == pytest.approx(50) and row["corruptions"] == [
        "fog_3d",
        "near_focus",
        "plasma_noise",
    ]
    assert (
        row["resize"] == "none"
        and "imagenet-3dcc" in row["source"]
        and not {"mce", "mean_top1"} & set(row)
    )
    printed = capsys.readouterr().out
    assert (
        "bar under corruptions: top-1 50.00%, the mean over 3 corruptions" in printed
        and "no mCE" in printed
    )
    assert "  fog_3d                    1: 100.0  5: 0.0" in printed


def test_others_beside_imagenet_cs_stand_apart(probed, lines, tmp_path, capsys):
    root = tmp_path / "both"
    for severity in range(1, 6):
        make_cell(root / "fog" / str(severity))
    make_cell(root / "fog" / "6", swapped=True)
    make_cell(root / "more" / "sparkles" / "3")
    assert evaluate(probed, f"both={root}") == 1, "14 of the 15 are missing"
    rows = {row["kind"]: row for row in lines()}
    assert rows["corruptions"]["by_corruption"] == {"fog": [100.0] * 5}
    assert rows["corruption_tree"]["by_corruption"] == {"fog": {"6": 0.0}, "sparkles": {"3": 100.0}}


def test_a_severity_that_cannot_be_read_costs_its_corruption_the_mean(
    probed, lines, tmp_path, capsys
):
    root = tmp_path / "c"
    for severity in (1, 2):
        make_cell(root / "sparkles" / str(severity))
        make_cell(root / "checkers" / str(severity), swapped=True)
    (root / "checkers" / "2" / "a" / "0.JPEG").write_bytes(b"nothing")
    assert evaluate(probed, f"unread={root}") == 1
    [row] = lines()
    assert (
        row["corruptions"] == ["sparkles"]
        and row["tree_mean_top1"] == 100
        and row["by_corruption"]["checkers"] == {"1": 0.0}
    )
    assert "checkers counts in no mean: severity 2 cannot be evaluated" in capsys.readouterr().err


def test_what_is_a_tree_of_corruptions_and_what_is_not(tmp_path):
    make_cell(tmp_path / "photos")  # class folders
    for number in (0, 1, 10):
        (tmp_path / "v2" / str(number)).mkdir(parents=True)  # numbered classes hold no folders
    make_cell(tmp_path / "splits" / "val")
    for name in ("photos", "v2", "splits", "nothing"):
        assert isinstance(kind_of(tmp_path / name), LabelledKind)
    make_cell(tmp_path / "unpacked" / "c-bar" / "sparkles" / "1")
    assert tree_root(tmp_path / "unpacked") == tmp_path / "unpacked" / "c-bar"
    make_cell(tmp_path / "wrapped" / "imagenet-c" / "fog" / "1")
    root = tree_root(tmp_path / "wrapped")
    cells = ImageNetC().find(root)
    assert set(cells.published) == {("fog", 1)} and not cells.others
    for family in ("one", "two"):
        make_cell(tmp_path / "families" / family / "blur" / "1")
    assert set(find_tree(tmp_path / "families")) == {("blur", "1"), ("two/blur", "1")}, (
        "neither hides the other"
    )
