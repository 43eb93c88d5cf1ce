"""Trees of other corruptions and severities, and the arrays of CIFAR-10-C: means over what is
there, never called mCE."""

import json

import numpy as np
import pytest

from fastneg.config import ConfigError
from fastneg.data import BetonReader
from fastneg.evaluation.corruptions import ALL_15
from fastneg.evaluation.sets.cifar_c import Arrays, find_arrays
from fastneg.evaluation.sets.corruption_tree import find_tree, tree_root
from fastneg.evaluation.sets.imagenet_c import ImageNetC
from fastneg.evaluation.sets.labelled import LabelledKind
from fastneg.evaluation.sets.registry import kind_of
from fastneg.runs.results import misfit
from helpers.encoder_runs import evaluate, make_probed
from helpers.tinted import SIZE, make_cell, tinted

NAMES = ("airplane", "bird", "cat")


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


def make_arrays(folder, corruptions, classes=NAMES, order=None, each=6):
    """CIFAR-10-C's layout: `each` tinted images, five times; severity 5 wears the next class's
    tint."""
    folder.mkdir()
    order, rng = order or ("airplane", "automobile", "bird", "cat"), np.random.default_rng(0)
    shown = [classes[i % len(classes)] for i in range(each)]
    worn = lambda name, severity: classes[(classes.index(name) + (severity == 5)) % len(classes)]
    for corruption in corruptions:
        images = [tinted(rng, worn(name, severity)) for severity in range(1, 6) for name in shown]
        np.save(folder / f"{corruption}.npy", np.stack(images))
    np.save(folder / "labels.npy", np.array([order.index(name) for name in shown] * 5))
    return folder


@pytest.fixture(scope="module")
def of_cifar(tmp_path_factory):
    """A run with a classifier of three of CIFAR-10's classes."""
    return make_probed(tmp_path_factory.mktemp("cifar"), NAMES)


def rows_of(run):
    return [json.loads(line) for line in (run / "evaluation.jsonl").read_text().splitlines()]


def test_the_arrays_of_cifar_10_c(of_cifar, tmp_path, capsys):
    root = make_arrays(tmp_path / "CIFAR-10-C", (*ALL_15, "saturate", "sparkles"))
    assert evaluate(of_cifar, f"c={root}") == 0
    row, tree = rows_of(of_cifar)[-2:]
    assert row["kind"] == "corruptions" and set(row["by_corruption"]) == {*ALL_15, "saturate"}
    assert all(five == [100.0] * 4 + [0.0] for five in row["by_corruption"].values()) and row[
        "mean_top1"
    ] == pytest.approx(80)
    assert (
        row["images"] == 6
        and row["classes"] == 3
        and row["mce"] is None
        and row["resize"] == "none"
    )
    assert row["source"] == f"files of CIFAR-10-C, whole at {SIZE} px"
    assert tree["by_corruption"] == {
        "sparkles": {"1": 100.0, "2": 100.0, "3": 100.0, "4": 100.0, "5": 0.0}
    }
    assert "of ImageNet-C's 15" in capsys.readouterr().out


def test_what_the_arrays_lack_is_told(of_cifar, tmp_path, capsys):
    root = make_arrays(tmp_path / "few", ("fog",))
    assert evaluate(of_cifar, f"few={root}") == 1
    assert (
        "14 of the 15 corruptions are not there" in (said := capsys.readouterr().err)
        and "gaussian_noise.npy was expected" in said
    )


def test_numbers_of_arrays_need_cifars_classes(probed, tmp_path, capsys):
    root = make_arrays(tmp_path / "CIFAR-10-C", ("fog",))
    assert evaluate(probed, f"cifar={root}") == 1
    assert (
        "numbers its classes, 0 to 3, in CIFAR's order, and the classifier knows a, b, c"
        in capsys.readouterr().err
    )
    cell = Arrays(root / "fog.npy", 1)
    with pytest.raises(ConfigError, match="in CIFAR's order"):
        cell.write(tmp_path / "x.beton", ["n01440764", "n01443537"])
    for classes, expected in (
        (["3", "0"], ["0", "1", "2", "3"]),
        (["cat"], ["0", "1", "2", "3"]),
        (None, None),
    ):
        with BetonReader(cell.write(tmp_path / "x.beton", classes)) as reader:
            assert (
                reader.classes == expected
                and reader.labels.tolist() == [0, 2, 3] * 2
                and reader.raw.all()
            )
            assert np.array_equal(
                reader.stored(4).reshape(SIZE, SIZE, 3), np.load(root / "fog.npy")[4]
            )


@pytest.mark.parametrize(
    ("name", "array", "said"),
    [
        ("fog", np.zeros((12, 4, 4, 3), np.uint8), "holds 12 images, labels.npy 10 labels"),
        ("fog", np.zeros((10, 4, 4, 3), np.float32), r"is \(10, 4, 4, 3\) float32"),
        ("fog", np.zeros((10, 4, 4), np.uint8), r"is \(10, 4, 4\) uint8"),
        ("labels", np.zeros((10, 2), np.int64), r"is \(10, 2\) int64"),
        ("labels", np.full(10, -1), "whole numbers from 0 on"),
        ("labels", np.zeros(3, np.int64), "labels.npy 3 labels"),
        ("fog", None, "cannot be read as a .npy file"),
    ],
)
def test_arrays_of_another_form_are_refused(tmp_path, name, array, said):
    np.save(tmp_path / "fog.npy", np.zeros((10, 4, 4, 3), np.uint8))
    np.save(tmp_path / "labels.npy", np.arange(10) % 2)
    if array is None:
        (tmp_path / f"{name}.npy").write_bytes(b"no array at all")
    else:
        np.save(tmp_path / f"{name}.npy", array)
    with pytest.raises(ConfigError, match=said):
        find_arrays(tmp_path)["fog", 2].write(tmp_path / "x.beton", None)


def test_labels_of_one_severity_serve_all_and_a_single_severity_is_refused(tmp_path):
    np.save(tmp_path / "fog.npy", np.arange(10, dtype=np.uint8)[:, None, None, None].repeat(3, 3))
    np.save(tmp_path / "labels.npy", np.array([1, 0]))
    with BetonReader(find_arrays(tmp_path)["fog", 5].write(tmp_path / "x.beton", None)) as reader:
        assert reader.labels.tolist() == [1, 0] and [reader.stored(i)[0] for i in range(2)] == [
            8,
            9,
        ]
    np.save(tmp_path / "fog.npy", np.zeros((10_000, 1, 1, 3), np.uint8))
    np.save(tmp_path / "labels.npy", np.random.default_rng(0).integers(0, 10, 10_000))
    with pytest.raises(ConfigError, match="at severities 1 to 5"):
        find_arrays(tmp_path)["fog", 1].write(tmp_path / "y.beton", None)
