"""Which sets are of conflicting cues, and what an answer to a set of textures is held against."""

import pytest

from fastneg.config import ConfigError
from fastneg.evaluation.sets.cue_conflict import texture_labels
from fastneg.evaluation.sets.textures import scored_labels
from helpers.fake_data import fake


def test_which_sets_are_cue_conflict():
    classes = ["cat", "elephant", "car"]
    assert texture_labels(fake([0, 1], classes, texture=[1, 0])).tolist() == [1, 0]
    assert texture_labels(fake([0, 1], classes, texture=[0, 0])) is None, (
        "one image wears its own texture"
    )
    assert texture_labels(fake([0, 1], classes, texture=[1, 3])) is None, "a texture of no class"
    assert texture_labels(fake([0, 1], classes, texture=[1, -1])) is None
    assert texture_labels(fake([0, 1], classes)) is None
    names = ["cat/cat1-elephant12.png", "elephant/elephant3-car1.png"]
    assert texture_labels(fake([0, 1], classes, names)).tolist() == [1, 2]
    assert texture_labels(fake([0, 1], classes, ["cat/cat1-cat2.png", names[1]])).tolist() == [
        0,
        2,
    ], "80 of the published set agree"
    assert (
        texture_labels(
            fake([0, 1], classes, ["cat/cat1-cat2.png", "elephant/elephant1-elephant2.png"])
        )
        is None
    )
    assert texture_labels(fake([0, 1], classes, ["cat/photo.png", names[1]])) is None
    partly = fake([0, 1], classes, ["cat/cat1-truck2.png", names[1]])
    assert texture_labels(partly).tolist() == [-1, 2], "the folder truck was not copied"
    assert texture_labels(fake([0, 1], classes, ["cat/cat1-house2.png", names[1]])) is None


def test_what_an_answer_is_held_against():
    classes, names = (
        ["cat", "elephant", "car"],
        ["cat/cat1-elephant12.png", "elephant/elephant3-elephant1.png"],
    )
    by = lambda *fake_of, metric="texture", **fields: (lambda found: (found[0].tolist(), found[1]))(
        scored_labels(fake(*fake_of, **fields), metric)
    )
    assert by([0, 1], classes, texture=[1, 2]) == ([1, 2], "texture field")
    assert by([0, 1], classes, texture=[0, 2]) == ([0, 2], "texture field"), (
        "one wears its own texture"
    )
    assert (
        by([0, 1], classes, texture=[-1, 2])
        == ([-1, 2], "texture field")
        == by([0, 1], classes, texture=[3, 2])
    )
    assert by([0, 1], classes, names) == ([1, 1], "file names")
    assert by([0, 1], classes, names, texture=[2, 2]) == ([2, 2], "texture field")
    assert (
        by([0, 1], classes)
        == ([0, 1], "label")
        == by([0, 1], classes, ["cat/1.png", "elephant/2.png"])
    )
    for metric in (None, "accuracy"):
        assert by([0, 1], classes, names, metric=metric, texture=[2, 2]) == ([0, 1], "label")
    with pytest.raises(ConfigError, match="no number there is of one of its 3 classes"):
        by([0, 1], classes, texture=[-1, 3])
