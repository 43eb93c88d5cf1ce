"""The arrays of CIFAR-10-C: means over what is there, never called mCE."""

import json

import numpy as np
import pytest

from fastneg.config import ConfigError
from fastneg.data import BetonReader
from fastneg.evaluation.corruptions import ALL_15
from fastneg.evaluation.sets.cifar_c import Arrays, find_arrays
from helpers.encoder_runs import evaluate, make_probed
from helpers.tinted import SIZE, tinted

NAMES = ("airplane", "bird", "cat")


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
