"""Predictions: error consistency, reliability and example images; lines of every further kind
(fastneg.runs.predictions, fastneg.report.sections.agreement, fastneg.report.sections.examples,
fastneg.report.sections.classes, fastneg.report.sections.representation,
fastneg.report.sections.shape_or_texture)."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.report_runs import add_predictions, add_rows, make_run, page_of


def test_every_new_kind_is_on_the_page(two, tmp_path):
    page = page_of(tmp_path, *two)
    assert page.row("photos40 images, 4 classes")[1] == "50.0[35.0, 65.0]"
    assert (
        "Few-shot, 1% of the labels" in page.text
        and "Few-shot, 10% of the labels" in page.text
        and "Fine-tuning" in page.text
    )
    assert [cells[1:3] for cells in page.rows("val") if "5 epochs" in cells[0]] == [
        ["70.0", "71.0"]
    ]
    assert page.row("fine")[1:] == ["80.0", "80.0"]
    assert page.rows("negative: patch")[0][1:] == ["0.250", "0.250"]
    assert ["photos", "12.5", "12.5"] in page.tables  # calibration
    for plot in (
        "The most texture-bound classes: photos",
        "By class: photos",
        "Reliability: photos",
        "Similarities, photos: one: histograms of the cosine with the query",
        "Embedding, photos: two",
    ):
        assert plot in page.plots
    with Image.open(io.BytesIO(base64.b64decode(page.images[0].split(",")[1]))) as image:
        image.load()
    assert "Missing or damaged" not in page.text


def test_answers_to_other_images_have_no_error_consistency(two, tmp_path):
    """A file of the same name with as many images of the classes in another order."""
    page = page_of(tmp_path, *two)
    assert "Error consistency: photos" in page.text and "different images" not in page.text
    label = (np.arange(40) + 1) % 4
    add_predictions(Path(two[1]), label, label, np.ones(40))
    assert "Error consistency: photos" not in page_of(tmp_path, *two).text
    # numbered in another way, the same classes
    add_predictions(Path(two[1]), label, label, np.ones(40), classes="dabc")
    assert "Error consistency: photos" in page_of(tmp_path, *two).text


@pytest.mark.parametrize(
    "row",
    [
        {"kind": "similarity", "edges": [0, 1], "positive": [1, 2], "queue": [1]},
        {"kind": "similarity", "edges": [1, 0], "positive": [1], "queue": [1]},
        {"kind": "embedding", "points": [[0, 1]], "labels": []},
        {"kind": "per_class", "by_class": {"a": {"top1": None}}},
        {"kind": "texture_classes", "by_class": {"a": {"top1": 1}}, "groups": [1]},
        {"kind": "few_shot", "top1": 5},
        {"kind": "finetune", "top1": "much"},
    ],
)
def test_lines_that_do_not_hold_what_their_kind_needs_are_left_out(tmp_path, row):
    make_run(tmp_path / "run")
    add_rows(tmp_path / "run", {"set": "x", **row})
    assert (
        f"a line of kind '{row['kind']}' was left out"
        in page_of(tmp_path, str(tmp_path / "run")).text
    )
