"""ImageNet-C's files: folders or .beton files by corruption and severity; what is missing is told,
the rest is evaluated."""

import json

import pytest

from fastneg.config import ConfigError
from fastneg.evaluation.sets.imagenet_c import ImageNetC, is_imagenet_c
from fastneg.runs import embed as features
from fastneg.runs.results import misfit
from helpers.encoder_runs import evaluate
from helpers.tinted import SIZE, make_beton, make_cell


@pytest.fixture
def tree(tmp_path):
    """fog whole (severities 1 to 4 right, 5 swapped), snow as .beton, frost without severity 3,
    blur of no name."""
    root = tmp_path / "imagenet-c"
    for severity in range(1, 6):
        make_cell(root / "fog" / str(severity), swapped=severity == 5)
        (root / "snow").mkdir(exist_ok=True)
        make_beton(root / "snow" / f"{severity}.beton", 4, classes=("a", "b"))
        if severity != 3:
            make_cell(root / "frost" / str(severity))
    (root / "blur").mkdir()
    return root


def test_what_is_there_and_what_is_missing(tree, tmp_path):
    assert (
        is_imagenet_c(tree)
        and not is_imagenet_c(tree / "fog")
        and not is_imagenet_c(tmp_path / "none")
    )
    cells, _, missing = ImageNetC().find(tree)
    whole = {(name, severity) for name in ("fog", "snow") for severity in range(1, 6)}
    assert set(cells) == whole | {("frost", severity) for severity in (1, 2, 4, 5)}
    assert (
        "12 of the 15 corruptions are not there" in missing[0]
        and "gaussian_noise/<1-5>/<class>/" in missing[0]
    )
    assert (
        "frost counts in no mean: it lacks severity 3" in missing[1]
        and "frost/3/<class>/ or" in missing[1]
    )


def test_folders_named_for_families_and_classes_named_for_weather(tmp_path):
    make_cell(tmp_path / "c" / "weather" / "fog" / "2")
    make_cell(tmp_path / "c" / "snow" / "4")
    assert is_imagenet_c(tmp_path / "c") and set(ImageNetC().find(tmp_path / "c").published) == {
        ("fog", 2),
        ("snow", 4),
    }
    for name in ("fog", "snow"):  # a set of photographs with such classes
        (tmp_path / "photos" / name).mkdir(parents=True)
    assert not is_imagenet_c(tmp_path / "photos")


def test_whole_corruptions_are_evaluated_and_the_rest_is_told(
    probed, lines, tree, tmp_path, capsys
):
    val = make_beton(tmp_path / "val.beton", 8)
    assert evaluate(probed, f"c={tree},val={val}") == 1
    rows = {(row["kind"], row["set"]): row for row in lines()}
    assert ("accuracy", "val") in rows
    row, parts = rows["corruptions", "c"], rows["corruption_parts", "c"]
    assert (
        list(row["by_corruption"]) == ["snow", "fog"]
        and row["of_the_15"] == ["fog", "snow"]
        and row["images"] == 4
    )
    assert row["by_corruption"]["fog"][:4] == [100.0] * 4 and row["by_corruption"]["fog"][4] == 0.0
    assert (
        row["partial_mean_top1"] == pytest.approx(90) and row["mean_top1"] is None is row["mce"]
    ), "no mean over the 15 is to be had"
    assert (
        "over 2 of the 15" in row["mean_note"]
        and "gaussian_noise" in row["mean_note"]
        and "fog" not in row["mean_note"]
    )
    assert (
        "2 are here" in row["mce_note"]
        and row["source"].startswith("files of ImageNet-C")
        and misfit(row) is None
    )
    assert (
        parts["by_corruption"] == {"frost": dict.fromkeys("1245", 100.0)}
        and parts["images"] == 4
        and "mean_top1" not in parts
    )
    streams = capsys.readouterr()
    assert (
        "frost counts in no mean" in streams.err
        and "1 of 2 sets" in streams.err
        and "see below" in streams.out
    )
    assert (
        "c under corruptions: A mean over 2 of the 15 corruptions, not to be compared"
        in streams.out
    )
    assert ["frost", "100.0", "100.0", "–", "100.0", "100.0"] in [
        line.split() for line in streams.out.splitlines()
    ]
    assert "c under corruptions: mCE is a mean over 15" in streams.out
    assert not list(probed.glob(".corrupted-*")), "nothing is left of the files made for a moment"


def test_severities_without_a_whole_corruption_stand_by_themselves(probed, lines, tmp_path, capsys):
    for name, images in (("fog", 2), ("snow", 3)):
        make_cell(tmp_path / "c" / name / "3", images=images)
    assert evaluate(probed, f"only-3={tmp_path / 'c'}") == 1
    [row] = lines()
    assert row["kind"] == "corruption_parts" and row["by_corruption"] == {
        "snow": {"3": 100.0},
        "fog": {"3": 100.0},
    }
    assert row["images"] == 4 and row["images_by_corruption"] == {"snow": {"3": 6}, "fog": {"3": 4}}
    streams = capsys.readouterr()
    assert (
        "do not hold the same images" in streams.err
        and "see below" in streams.out
        and "in no mean" in streams.out
    )


def test_a_severity_that_cannot_be_read_costs_its_corruption_the_mean_alone(
    probed, lines, tree, capsys
):
    (tree / "snow" / "2.beton").write_bytes(b"nothing")
    assert evaluate(probed, f"damaged={tree}:corruptions") == 1
    row, parts = lines()
    assert row["of_the_15"] == ["fog"] and {
        name: list(found) for name, found in parts["by_corruption"].items()
    } == {
        "snow": list("1345"),
        "frost": list("1245"),
    }
    assert "snow counts in no mean: severity 2 cannot be evaluated" in capsys.readouterr().err


def test_the_central_crop_is_taken_without_a_resize(probed, tree, monkeypatch):
    seen, real = [], features.EvalLoader

    def recorded(*args, **options):
        seen.append(options["resize"])
        return real(*args, **options)

    monkeypatch.setattr(features, "EvalLoader", recorded)
    evaluate(probed, f"c={tree}:corruptions")
    assert seen == [SIZE] * 14


def test_what_cannot_be_is_told(probed, tree, tmp_path, capsys):
    with pytest.raises(ConfigError, match="so name those first"):
        evaluate(probed, f"c={tree}:corruptions", corruptions="on")
    assert evaluate(probed, f"c={tmp_path / 'imagenet-c' / 'frost'}:corruptions") == 1
    assert "holds no images of a corruption" in capsys.readouterr().err
    assert json.loads((probed / "evaluation.jsonl").read_text().splitlines()[0])["kind"] == "linear"
