"""Recipes as data (fastneg.config.augmentation): what the lists mean, what is wrong with others,
and a run with one of a user's own."""

import json

import pytest

from fastneg.config import ConfigError, PretrainConfig
from fastneg.config.augmentation import (
    AUGMENTATIONS,
    EVALUATION,
    LINEAR_PROBE,
    Augmentation,
    augmentation_of,
    read_augmentation,
)
from fastneg.errors import TrainingError
from fastneg.training.resume import plain
from fastneg.training.trainer import pretrain
from helpers.pretraining import rows, settings

OWN = [
    {"op": "crop", "ratio": [0.5, 2]},
    {"op": "blur", "p": 0.3, "sigma": [0.5, 1]},
    {"op": "flip", "p": 0},
]


def test_the_lists_are_the_published_recipes():
    """As torchvision's transforms of MoCo and SimCLR have them."""
    assert augmentation_of("moco_v2") == Augmentation(
        0.4, 0.4, 0.4, 0.1, jitter_p=0.8, gray_p=0.2, blur_p=0.5, blur_sigma=(0.1, 2.0)
    )
    assert augmentation_of("moco_v1") == Augmentation(0.4, 0.4, 0.4, 0.4, jitter_p=1.0, gray_p=0.2)
    assert augmentation_of("simclr") == Augmentation(
        0.8, 0.8, 0.8, 0.2, jitter_p=0.8, gray_p=0.2, blur_p=0.5
    )
    assert augmentation_of("crop_flip") == Augmentation(flip_p=0.5)
    assert augmentation_of(LINEAR_PROBE) == Augmentation(area=(0.08, 1.0), flip_p=0.5)
    assert EVALUATION["resize"] == 256 / 224


def test_what_is_not_listed_is_not_done():
    assert augmentation_of([{"op": "crop"}]) == Augmentation(flip_p=0.0)
    assert augmentation_of(OWN) == Augmentation(
        blur_p=0.3, blur_sigma=(0.5, 1.0), flip_p=0.0, ratio=(0.5, 2.0)
    )


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_recipe_can_be_copied_to_a_file(tmp_path, name):
    file = tmp_path / "own.json"
    file.write_text(json.dumps(AUGMENTATIONS[name]))
    assert (
        augmentation_of(read_augmentation(file))
        == augmentation_of(name)
        == PretrainConfig(views=str(file)).recipe()
    )


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (
            "moco_v3",
            "'moco_v3': crop_flip, moco_v1, .* or a file NAME.json of operations, was expected",
        ),
        ({"op": "crop"}, "a list of operations"),
        ([], "crop first"),
        (["crop"], "a list of operations"),
        (
            [{"op": "crop"}, {"op": "solarize"}],
            "the operation 'solarize': crop, jitter, gray, blur, flip were expected",
        ),
        ([{"op": "flip"}, {"op": "crop"}], "in this order"),
        ([{"op": "crop"}, {"op": "flip"}, {"op": "flip"}], "at most once"),
        ([{"op": "crop"}, {"op": "flip", "prob": 0.5}], "the parameter 'prob': p were expected"),
        (
            [{"op": "crop"}, {"op": "flip", "p": 1.5}],
            "p of the operation flip is 1.5: a number from 0 to 1",
        ),
        ([{"op": "crop"}, {"op": "flip", "p": True}], "p of the operation flip is True"),
        (
            [{"op": "crop"}, {"op": "jitter", "hue": 0.6}],
            "hue of the operation jitter is 0.6: a number from 0 to 0.5",
        ),
        (
            [{"op": "crop"}, {"op": "jitter", "hue": float("nan")}],
            "hue of the operation jitter is nan",
        ),
        ([{"op": "crop"}, {"op": "blur", "sigma": [2, 1]}], "two numbers, the smaller one first"),
        ([{"op": "crop"}, {"op": "blur", "sigma": 2}], "two numbers"),
        (
            [{"op": "crop", "area": None}, {"op": "blur", "sigma": None}],
            "sigma of the operation blur is None",
        ),
        ([{"op": "crop", "area": [0.2, 1.2]}], "area of the operation crop"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, recipe, message):
    with pytest.raises(ConfigError, match=message):
        augmentation_of(recipe)
    if not isinstance(recipe, str):
        (tmp_path / "own.json").write_text(json.dumps(recipe))
        with pytest.raises(ConfigError, match=r"own\.json"):
            PretrainConfig(views=str(tmp_path / "own.json"))


def test_files_that_do_not_serve_are_refused(tmp_path):
    (tmp_path / "own.json").write_text("[{]")
    for name, said in (("own", "as JSON: "), ("gone", "No such file or directory")):
        with pytest.raises(ConfigError, match=rf"{name}\.json cannot be read(: | ){said}"):
            PretrainConfig(views=str(tmp_path / f"{name}.json"))
    (tmp_path / "own.json").write_text(json.dumps([{"op": "crop", "area": [0.1, 0.5]}]))
    with pytest.raises(
        ConfigError, match=r"the area \[0.1, 0.5\]: leave it out, and give --crop_min"
    ):
        PretrainConfig(views=str(tmp_path / "own.json"))


def test_a_run_keeps_the_contents_of_its_file_and_notices_a_change(beton, tmp_path):
    file = tmp_path / "own.json"
    file.write_text(json.dumps(OWN))
    config = settings(beton, tmp_path / "run", epochs=1, views=str(file))
    assert not pretrain(config, stop_after=2).finished
    kept = json.loads((tmp_path / "run" / "config.json").read_text())
    assert kept["views"] == OWN and PretrainConfig(**kept).recipe() == augmentation_of(OWN)
    file.write_text(json.dumps([*OWN[:2], {"op": "flip", "p": 0.5}]))
    with pytest.raises(TrainingError, match=r"other settings \(views"):
        pretrain(settings(beton, tmp_path / "run", epochs=1, views=str(file)))
    file.write_text(json.dumps(OWN, indent=1))
    again = settings(beton, tmp_path / "run", epochs=1, views=str(file))
    assert plain(again) == plain(config) and pretrain(again).finished
    plain_run = settings(beton, tmp_path / "plain", epochs=1)
    pretrain(plain_run)
    assert [row["loss"] for row in rows(tmp_path / "run")] != [
        row["loss"] for row in rows(tmp_path / "plain")
    ]
