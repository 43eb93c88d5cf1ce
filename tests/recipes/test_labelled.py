"""Two labelled sets for probes, kNN and fine-tuning: joined before any work, what is left out is
told."""

import numpy as np
import pytest

from fastneg.config import ConfigError, FinetuneConfig, KnnConfig, LinearConfig
from fastneg.data import BetonWriter
from fastneg.evaluation.accuracy import Accuracy
from fastneg.recipes.labelled import open_labelled, told
from helpers.encoder_runs import make_run
from helpers.images import jpeg
from helpers.tinted import make_beton


def config(train, val):
    return KnnConfig("run", str(train), str(val))


def test_sets_are_joined_by_name_and_what_is_left_out_is_told(tmp_path, capsys):
    train = make_beton(tmp_path / "train.beton", 8)
    val = make_beton(tmp_path / "val.beton", 6, classes=("c", "zebra", "a"))
    with open_labelled(config(train, val)) as data:
        assert (
            data.count == 4
            and data.labels.tolist() == [0, 1, 2, 3] * 2
            and data.val_labels.tolist() == [2, -1, 0] * 2
        )
    assert (
        f"{val}: 2 of 3 classes and 4 of 6 images remain: {train} does not know the others."
        in capsys.readouterr().out
    )
    with open_labelled(config(train, make_beton(tmp_path / "other.beton", 8, seed=1))) as data:
        assert capsys.readouterr().out == "" and data.shared == 0


def test_classes_without_a_training_image_are_told(tmp_path, capsys):
    """A list whose labels begin at 1 has a class 0 without an image."""
    val = make_beton(tmp_path / "val.beton", 6, classes=("0", "1", "2"))
    train = made(tmp_path / "train.beton", [1, 2, 1, 2], ["0", "1", "2"])
    with open_labelled(config(train, val)):
        said = capsys.readouterr().out
    assert f"{val}: 2 images of 1 class (0) of which {train} has no image: none of them" in said


def test_a_join_by_number_is_told(tmp_path, capsys):
    val = make_beton(tmp_path / "val.beton", 6, classes=("cat", "dog"))
    train = made(tmp_path / "train.beton", [0, 1, 0], None)
    with open_labelled(config(train, val)):
        said = capsys.readouterr().out
    assert f"those of the same numbers in {train}, for {train} gives no names of classes." in said


def made(path, labels, classes):
    with BetonWriter(path, classes=classes) as writer:
        for place, label in enumerate(labels):
            writer.add(jpeg(np.full((32, 32, 3), place, np.uint8)), 32, 32, label=label)
    return path


@pytest.mark.parametrize("kind", [LinearConfig, KnnConfig, FinetuneConfig])
def test_one_class_is_nothing_to_tell_apart(tmp_path, kind):
    from fastneg.recipes.finetune import run_finetune
    from fastneg.recipes.knn import run_knn
    from fastneg.recipes.linear import run_linear

    run, train = make_run(tmp_path / "run"), make_beton(tmp_path / "train.beton", 8, classes=("a",))
    command = {LinearConfig: run_linear, KnnConfig: run_knn, FinetuneConfig: run_finetune}[kind]
    with pytest.raises(ConfigError, match="8 images of one class: at least two"):
        command(kind(str(run), str(train), str(train), device="cpu", threads=1))
    assert not (run / "evaluation.jsonl").exists()


def test_a_result_in_words():
    result = Accuracy(50.0, 75.0, 8, 4, (25.0, 87.5), (50.0, 100.0))
    assert told(result) == "top-1 50.00% (25.00 to 87.50), top-5 75.00% of 8 images in 4 classes"
