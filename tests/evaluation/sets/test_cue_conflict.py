"""fastneg evaluate on sets whose images have a shape and a texture: the bias between the two,
and accuracy by either."""

import json

import numpy as np
import pytest
import torch

from fastneg.config import ConfigError
from fastneg.data.beton.reader import BetonReader
from fastneg.evaluation.features import features_of
from fastneg.evaluation.linear import load_linear
from fastneg.runs.load import load_run
from fastneg.runs.predictions import read_predictions
from helpers.encoder_runs import evaluate
from helpers.images import photo, saved
from helpers.labelled_sets import open_set
from helpers.tinted import make_beton


def test_shape_bias_of_a_cue_conflict_set(probed, tmp_path, lines, capsys):
    path = make_beton(
        tmp_path / "swapped.beton",
        20,
        classes=("d", "c", "b", "a"),
        seed=1,
        texture=lambda i: (i + 1) % 4,
    )
    assert evaluate(probed, f"swapped={path}") == 0
    *_, bias = lines()
    loaded = load_run(probed)
    with BetonReader(path) as reader:
        answers = (
            load_linear(probed, loaded)
            .logits(features_of(probed, loaded, reader, threads=1).features)
            .argmax(1)
        )
    own = torch.tensor([3, 2, 1, 0])
    shape, texture = own[torch.arange(20) % 4], own[(torch.arange(20) + 1) % 4]
    shapes, textures = (answers == shape).sum().item(), (answers == texture).sum().item()
    assert shapes > 10
    assert bias["kind"] == "shape_bias" and bias["images"] == 20
    assert bias["shape_bias"] == pytest.approx(100 * shapes / (shapes + textures))
    assert bias["coverage"] == pytest.approx(100 * (shapes + textures) / 20)
    assert sorted(bias["by_category"]) == ["a", "b", "c", "d"]
    assert sum(sum(counts.values()) for counts in bias["by_category"].values()) == 20
    assert bias["by_category"]["a"]["shape"] == ((answers == 0) & (shape == 0)).sum()
    assert f"{bias['shape_bias']:.1f} ({bias['coverage']:.1f})" in capsys.readouterr().out


def test_a_set_of_which_the_textures_agree_gets_no_shape_bias(probed, tmp_path, lines):
    path = make_beton(tmp_path / "in_domain.beton", 8, texture=lambda i: i % 4)
    assert evaluate(probed, f"in_domain={path}") == 0
    assert [row["kind"] for row in lines()] == ["accuracy", "per_class", "embedding"]


def test_a_cue_conflict_set_of_categories(probed, tmp_path, lines, capsys):
    """Classes a, b are of one category, c of another, zebra of a third that the classifier does not
    know; d answers for none."""
    (tmp_path / "categories.json").write_text(
        json.dumps({"early": ["a", "b"], "late": ["c"], "striped": ["zebra"]})
    )
    tints = np.random.default_rng(99).integers(0, 256, (8, 3))
    looks = {
        ("early", "late"): "ac",
        ("late", "early"): "c",
        ("late", "late"): "c",
        ("striped", "late"): "c",
    }
    for (shape, texture), wears in looks.items():
        for look in wears:
            for i in range(3):
                path = tmp_path / "conflict" / shape / f"{shape}{i}-{texture}{ord(look)}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = (
                    photo(np.random.default_rng(i), 32, 32) * 0.2 + 0.8 * tints[ord(look) % 8]
                ).astype(np.uint8)
                path.write_bytes(saved(pixels, "PNG"))
    assert (
        evaluate(
            probed,
            f"conflict={tmp_path / 'conflict'}",
            categories=str(tmp_path / "categories.json"),
        )
        == 0
    )
    [row] = lines()
    assert (row["kind"], row["images"], row["categories"]) == (
        "shape_bias",
        9,
        {"early": 2, "late": 1},
    )
    loaded, expected = (
        load_run(probed),
        {
            "early": {"shape": 0, "texture": 0, "other": 0},
            "late": {"shape": 0, "texture": 0, "other": 0},
        },
    )
    with open_set(tmp_path / "conflict", probed) as reader:
        probabilities = (
            load_linear(probed, loaded)
            .logits(features_of(probed, loaded, reader, threads=1).features)
            .softmax(1)
        )
        for (a, b, c, _), name in zip(probabilities.tolist(), reader.names, strict=True):
            shape, texture = name.split("/")[0], "late" if "-late" in name else "early"
            answer = "early" if (a + b) / 2 > c else "late"
            if shape in expected and shape != texture:
                expected[shape]["shape" if answer == shape else "texture"] += 1
    assert (
        row["by_category"] == expected
        and expected["early"]["shape"]
        and expected["early"]["texture"]
        and expected["late"]["shape"]
    )
    shapes = expected["early"]["shape"] + expected["late"]["shape"]
    assert row["shape_bias"] == pytest.approx(100 * shapes / 9) and row["coverage"] == 100
    assert row["shape_bias_interval"][0] < row["shape_bias"]
    assert "2 of 3 categories and 9 of 15 images remain" in capsys.readouterr().out
    assert evaluate(probed, f"conflict={tmp_path / 'conflict'}") == 1
    assert (
        "holds 3 folders (early, late, striped), none of which the classifier or --categories names"
        in capsys.readouterr().err
    )
    assert evaluate(probed, f"conflict={probed}/sets/conflict-*.beton") == 1
    assert (
        "early, late, striped, which are neither the classifier's nor among the categories"
        in capsys.readouterr().err
    )


def test_texture_accuracy_is_that_of_the_texture(probed, tmp_path, lines, capsys):
    """The files look like their label: by the textures that the int field names, one class in four
    is right, those of class c."""
    path = make_beton(tmp_path / "t.beton", 40, texture=lambda i: [1, 3, 2, 9][i % 4])
    assert evaluate(probed, f"worn={path}:texture,plain={path}:accuracy") == 0
    first, found, plain, *_ = lines()
    assert (
        first["truth"] == found["truth"] == "texture field"
        and plain["truth"] == "label"
        and plain["top1"] > 90
    )
    assert first["images"] == 30 and {
        name: own["images"] for name, own in found["by_class"].items()
    } == {"b": 10, "c": 10, "d": 10}
    assert (
        found["by_class"]["c"]["top1"] > 90
        and found["by_class"]["b"]["top1"] == found["by_class"]["d"]["top1"] == 0.0
    )
    assert read_predictions(probed)[0]["worn"].label.tolist()[:3] == [1, 3, 2]
    said = capsys.readouterr().out
    assert "worn: scored by the textures that its int field texture names." in said
    assert "worn: 4 of 4 classes and 30 of 40 images remain." in said
    with pytest.raises(ConfigError, match="--corruptions on is scored by labels, worn by textures"):
        evaluate(probed, f"worn={path}:texture", corruptions="on")
    assert evaluate(probed, f"worn={path},second={path}") == 2
    assert (
        "holds figures of worn scored by the texture field, which those scored by the label would "
        "replace" in capsys.readouterr().err
    )
    assert lines()[-1]["set"] == "second"
