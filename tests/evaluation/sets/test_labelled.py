"""Test sets as others publish them: categories, sessions, numbered classes, images that are read
unresized."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from fastneg.config import ConfigError
from fastneg.data import BetonReader
from fastneg.data.known_classes import IMAGENET
from fastneg.data.labels import class_map
from fastneg.evaluation.categories import category_logits
from fastneg.evaluation.features import features_of
from fastneg.evaluation.linear import load_linear
from fastneg.runs.folder import read_run
from fastneg.runs.load import load_run
from fastneg.runs.predictions import read_predictions
from helpers.encoder_runs import evaluate, make_probed
from helpers.labelled_sets import open_set
from helpers.tinted import make_beton, make_images


def answers_in_categories(run, reader):
    """The category of each image by the definition: the mean of the softmax over a category's
    classes, arg-max."""
    loaded = load_run(run)
    found = features_of(run, loaded, reader, threads=1, report=lambda text: None)
    shares = load_linear(run, loaded).logits(found.features).double().softmax(1)
    means = [[row[0] / 2 + row[1] / 2, row[2], row[3]] for row in shares.tolist()]
    return [("airplane", "bear", "bicycle")[int(np.argmax(row))] for row in means]


# --- categories -----------------------------------------------------------------------------------


def test_folders_of_categories_are_scored_in_categories(
    probed, lines, tmp_path, categories, capsys
):
    looks = {"airplane": "abdc", "bear": "ccd", "bicycle": "dac", "bird": "ab"}
    root = tmp_path / "edges"
    make_images(
        {
            root / name / f"{name}{i}.png": look
            for name, own in looks.items()
            for i, look in enumerate(own)
        }
    )
    assert evaluate(probed, f"edges={root}", categories=categories) == 0
    row, per_class, embedded = lines()
    with open_set(root, probed, report=lambda text: None) as reader:
        said = answers_in_categories(probed, reader)
        true = [reader.classes[label] for label in reader.labels]
    kept = [i for i, name in enumerate(true) if name != "bird"]
    right = [said[i] == true[i] for i in kept]
    assert 0 < sum(right) < len(right) == row["images"] == 10
    assert row["top1"] == pytest.approx(100 * np.mean(right)) and row["top5"] == 100
    assert row["categories"] == {"airplane": 2, "bear": 1, "bicycle": 1} and row[
        "chance"
    ] == pytest.approx(100 / 3)
    assert list(per_class["by_class"]) == ["airplane", "bear", "bicycle"] and set(
        embedded["labels"]
    ) < set(json.loads(Path(categories).read_text()))
    printed = capsys.readouterr().out
    assert "3 of 4 categories and 10 of 12 images remain" in printed
    assert (
        "scored in 3 categories, by the mean probability over each one's classes; chance 33.3%"
        in printed
    )
    kept_answers = read_predictions(probed)[0]["edges"]
    run = read_run(probed, "run")
    assert [run.class_name(number, "edges") for number in kept_answers.predicted] == [
        said[i] for i in kept
    ]
    assert run.class_name(2) == "c", "other sets are answered in the classifier's classes"


def test_a_category_of_many_classes_does_not_win_by_their_number():
    logits = torch.log(torch.tensor([[0.2, 0.2, 0.2, 0.4], [0.3, 0.3, 0.3, 0.1]]))
    shares = category_logits(logits, {"many": [0, 1, 2], "one": [3]})
    torch.testing.assert_close(
        shares.exp(), torch.tensor([[0.2, 0.4], [0.3, 0.1]], dtype=torch.float64)
    )
    assert category_logits(torch.tensor([[math.nan, 0.0]]), {"x": [0], "y": [1]}).isnan().all()


def test_a_conflicting_set_asked_for_accuracy_is_scored_by_shape(
    probed, lines, tmp_path, categories
):
    root = tmp_path / "conflict"
    make_images(
        {root / "airplane" / "airplane1-bear2.png": "a", root / "bear" / "bear1-airplane3.png": "c"}
    )
    assert evaluate(probed, f"by-shape={root}:accuracy", categories=categories) == 0
    assert [row["kind"] for row in lines()] == ["accuracy", "per_class", "embedding"] and lines()[
        0
    ]["top1"] == 100


def test_present_categories_only(probed, lines, tmp_path, categories):
    root = tmp_path / "two"
    make_images({root / "airplane" / "airplane0.png": "c", root / "bicycle" / "bicycle0.png": "d"})
    assert evaluate(probed, f"two={root}", categories=categories, arg_max="present") == 0
    row = lines()[0]
    assert row["chance"] == 50 and row["classes"] == 2 and row["arg_max"] == "present"


def test_coverage_tells_images_and_chance(probed, lines, tmp_path, categories, capsys):
    root = tmp_path / "conflict"
    make_images(
        {
            root / "airplane" / "airplane1-bear2.png": "a",
            root / "airplane" / "airplane1-airplane2.png": "a",
            root / "bear" / "bear1-bicycle1.png": "d",
            root / "bear" / "bear1-bird1.png": "c",
            root / "bicycle" / "bicycle1-bicycle2.png": "d",
            root / "bird" / "bird1-airplane2.png": "a",
            root / "bear" / "bear2-truck1.png": "c",
        }
    )
    assert evaluate(probed, f"cues={root}", categories=categories) == 0
    row = lines()[-1]
    assert (row["images"], row["without_conflict"]) == (2, 2)
    assert row["chance_coverage"] == pytest.approx(200 / 3)
    printed = capsys.readouterr().out
    assert (
        "coverage is over the 2 images with a conflict of cues; 2 more have none and do not count; "
        "by chance 66.7%" in printed
    )
    assert "chance coverage 66.7" in printed


# --- sessions -------------------------------------------------------------------------------------


# --- numbered classes
# -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def of_imagenet(tmp_path_factory):
    """A run with a classifier of three of ImageNet's classes that look unlike each other."""
    names = tuple(IMAGENET[place] for place in (2, 10, 999))
    assert len({sum(map(ord, name)) % 8 for name in names}) == 3
    return make_probed(tmp_path_factory.mktemp("imagenet"), names)


def test_numbered_folders_give_the_figures_of_named_ones(of_imagenet, tmp_path, capsys):
    places = {2: 3, 10: 2, 999: 2, 1: 2}
    for numbered in (True, False):
        root = tmp_path / ("v2" if numbered else "named")
        files = {n: root / (str(n) if numbered else IMAGENET[n]) for n in places}
        make_images(
            {
                files[n] / f"{i}.png": IMAGENET[n]
                for n, count in places.items()
                for i in range(count)
            }
        )
    assert evaluate(of_imagenet, f"v2={tmp_path / 'v2'},named={tmp_path / 'named'}") == 0
    rows = [
        json.loads(line) for line in (of_imagenet / "evaluation.jsonl").read_text().splitlines()
    ]
    found = {row["set"]: row for row in rows if row["kind"] == "accuracy"}
    assert (
        found["v2"]["images"] == found["named"]["images"] == 7
        and found["v2"]["top1"] == found["named"]["top1"] == 100
    )
    assert (
        "its classes are numbers, taken as places in ImageNet's order (1 is n01443537, 999 is "
        "n15075141)" in capsys.readouterr().out
    )


def test_numbers_of_an_unknown_collection_are_refused(probed, tmp_path, capsys):
    make_images({tmp_path / "set" / str(n) / "0.png": "a" for n in range(4)})
    assert evaluate(probed, f"numbers={tmp_path / 'set'}") == 1
    assert "holds 4 folders (0, 1, 2, …), none of which" in capsys.readouterr().err
    with BetonReader(make_beton(tmp_path / "n.beton", 4, classes=("0", "1"))) as reader:
        with pytest.raises(
            ConfigError, match=r"names its classes by numbers .* rename the folders"
        ):
            class_map(reader, ["a", "b"], 2)
        assert class_map(reader, ["1", "0", "2"], 3).tolist() == [1, 0]


# --- images that are read unresized
# -----------------------------------------------------------------------------------
