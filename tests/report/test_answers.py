"""Predictions: error consistency, reliability and example images; lines of every further kind
(fastneg.runs.predictions, fastneg.report.sections.agreement, fastneg.report.sections.examples,
fastneg.report.sections.classes, fastneg.report.sections.representation,
fastneg.report.sections.shape_or_texture)."""

import base64
import io
import shutil

import numpy as np
import pytest
from PIL import Image

from fastneg.data.beton.reader import BetonReader
from fastneg.recipes.presets import tiny_cpu
from fastneg.report.entries import group_runs
from fastneg.report.sections import agreement, examples
from fastneg.runs import predictions
from fastneg.runs.folder import read_run
from helpers.report_runs import add_new_kinds, add_predictions, add_rows, make_run, page_of


@pytest.fixture
def two(tmp_path, beton):
    """Two runs with lines of every kind and predictions of the 40 photos."""
    runs = [
        make_run(tmp_path / name, tiny_cpu().replace(lr=lr))
        for name, lr in (("one", 0.1), ("two", 0.2))
    ]
    for seed, name in enumerate(("one", "two")):
        add_new_kinds(tmp_path / name, beton, seed)
    return runs


def test_reliability_by_hand():
    found = predictions.Predictions(
        np.arange(4),
        np.array([0, 0, 1, 1]),
        np.array([0, 1, 1, 1]),
        np.array([0.05, 0.09, 0.95, 1.0], np.float32),
    )
    assert predictions.reliability_bins(found) == [
        (pytest.approx(7.0), 50.0, 2),
        (pytest.approx(97.5), 100.0, 2),
    ]


def test_predictions_are_sorted_and_images_of_unknown_classes_left_out(tmp_path):
    (tmp_path / "predictions").mkdir()
    arrays = {
        "index": [3, 1, 2],
        "label": [0, -1, 1],
        "predicted": [0, 0, 0],
        "confidence": np.array([0.9, 0.8, 0.7], np.float32),
    }
    np.savez(tmp_path / "predictions" / "x.npz", **arrays)
    np.savez(tmp_path / "predictions" / "short.npz", **{**arrays, "label": [0]})
    (tmp_path / "predictions" / "cut.npz").write_bytes(b"PK")
    found, problems = predictions.read_predictions(tmp_path)
    assert (
        list(found) == ["x"]
        and found["x"].index.tolist() == [2, 3]
        and found["x"].right.tolist() == [False, True]
    )
    assert (
        len(problems) == 2
        and "cut.npz cannot be read" in problems[0]
        and "equally long" in problems[1]
    )


def test_kappa_within_and_between_seeds_in_the_page(tmp_path, beton):
    label, wrong = np.arange(40) % 4, (np.arange(40) + 1) % 4
    answers = {"p-s0": 20, "p-s1": 20, "q": 30}
    for number, (name, right) in enumerate(answers.items()):
        make_run(
            tmp_path / name, tiny_cpu().replace(seed=number % 2, lr=0.5 if name == "q" else 0.1)
        )
        add_rows(
            tmp_path / name,
            {"kind": "accuracy", "set": "photos", "path": str(beton), "top1": 100 * right / 40},
        )
        add_predictions(
            tmp_path / name, label, np.where(np.arange(40) < right, label, wrong), np.full(40, 0.5)
        )
    page = page_of(tmp_path, *(str(tmp_path / name) for name in answers))
    # p and q agree on 30 of 40; expected 1/2 · 3/4 + 1/2 · 1/4 = 1/2
    assert next(cells[1:] for cells in page.rows("p") if cells[0] == "p") == [
        "1.00",
        "0.50±\u20090.00",
    ]
    assert next(cells[1:] for cells in page.rows("q") if cells[0] == "q") == [
        "0.50±\u20090.00",
        "–",
    ]


def test_only_the_same_images_are_compared(two, tmp_path):
    entries = group_runs([read_run(folder, folder) for folder in two])
    assert len(agreement.kappas(*entries, "photos")[0]) == 1
    other = entries[1].runs[0]
    other.results["accuracy", "photos"]["path"] = "elsewhere/other.beton"
    assert agreement.kappas(*entries, "photos") == ([], 1)


def test_example_images_are_those_of_the_file_with_their_answers(tmp_path, beton):
    label, wrong = np.arange(40) % 4, (np.arange(40) + 1) % 4
    answers = {
        name: np.where(np.arange(40) < right, label, wrong)
        for name, right in (("one", 10), ("two", 20))
    }
    for number, (name, predicted) in enumerate(answers.items()):
        make_run(tmp_path / name, tiny_cpu().replace(lr=0.1 + number))
        add_rows(
            tmp_path / name, {"kind": "accuracy", "set": "photos", "path": str(beton), "top1": 40}
        )
        add_predictions(tmp_path / name, label, predicted, np.full(40, 0.5))
    entries = group_runs([read_run(tmp_path / name, name) for name in answers])
    (shown,) = examples.section(entries, []).blocks
    assert [len(row) for row in shown.rows] == [4, 4, 4]
    everywhere, somewhere, nowhere = shown.rows
    # images 0, 3, 6 and 9
    assert [picture.caption for picture in everywhere] == ["a", "d", "c", "b"]
    assert all(right for picture in everywhere for *_, right in picture.answers)
    assert all(
        sorted(right for *_, right in picture.answers) == [False, True] for picture in somewhere
    )
    assert not any(right for picture in nowhere for *_, right in picture.answers)
    with BetonReader(beton) as reader:
        for picture, index in zip(everywhere, (0, 3, 6, 9), strict=True):
            assert base64.b64decode(picture.source.split(",")[1]) == reader.jpeg(index).tobytes()
    assert shown.caption.startswith("40 images: ")


def test_seeds_answer_together(tmp_path, beton):
    label = np.zeros(40, int)
    for seed, answer in enumerate((0, 2, 2)):
        make_run(tmp_path / f"p-s{seed}", tiny_cpu().replace(seed=seed))
        add_rows(
            tmp_path / f"p-s{seed}",
            {"kind": "accuracy", "set": "photos", "path": str(beton), "top1": 40},
        )
        add_predictions(tmp_path / f"p-s{seed}", label, np.full(40, answer), np.full(40, 0.5))
    (entry,) = group_runs([read_run(tmp_path / f"p-s{seed}", f"p-s{seed}") for seed in range(3)])
    (shown,) = examples.section([entry], []).blocks
    assert shown.rows[0][0].answers == ((0, "c 2/3", False),)


def test_sets_of_several_files_and_names_with_a_slash(tmp_path, beton):
    second = beton.with_name("more.beton")
    for suffix in ("", ".json"):
        shutil.copy(f"{beton}{suffix}", f"{second}{suffix}")
    make_run(tmp_path / "one")
    add_rows(
        tmp_path / "one",
        {"kind": "accuracy", "set": "in/val", "path": f"{beton},{second}", "top1": 40},
    )
    add_predictions(
        tmp_path / "one", np.zeros(80, int), np.zeros(80, int), np.full(80, 0.5), name="in-val"
    )
    (entry,) = group_runs([read_run(tmp_path / "one", "one")])
    (shown,) = examples.section([entry], []).blocks
    assert (
        shown.title == "in/val"
        and [picture.source is not None for picture in shown.rows[0]] == [True] * 4
    )
    with BetonReader(second) as reader:  # image 79 is the last of the second file
        assert base64.b64decode(shown.rows[0][3].source.split(",")[1]) == reader.jpeg(39).tobytes()


def test_many_sets_are_folded_and_what_is_not_shown_is_told(tmp_path, beton):
    make_run(tmp_path / "one")
    for number in range(5):
        common = {"set": f"set{number}", "path": str(beton)}
        add_rows(
            tmp_path / "one",
            {
                "kind": "embedding",
                **common,
                "points": [[0.0, 1.0], [1.0, 0.0]],
                "labels": ["a", "b"],
            },
        )
        add_rows(
            tmp_path / "one",
            {"kind": "per_class", **common, "by_class": {"a": {"top1": 1.0, "images": 3}}},
        )
    page = page_of(tmp_path, str(tmp_path / "one"))
    assert [plot for plot in page.plots if plot.startswith("Embedding")] == [
        "Embedding, set0",
        "Embedding, set1",
        "Embedding, set2",
    ]
    assert "Embeddings of 2 further sets are not shown" in page.text
    assert (
        len([plot for plot in page.plots if plot.startswith("By class: set")]) == 5
        and "By class: other sets" in page.text
    )


def test_missing_images_and_class_names_are_told_and_the_rest_shown(two, tmp_path):
    add_predictions(tmp_path / "one", [0, 1], [0, 0], [0.5, 0.9], name="gone")
    add_rows(
        tmp_path / "one", {"kind": "accuracy", "set": "gone", "path": "no/such.beton", "top1": 50}
    )
    (tmp_path / "two" / "linear.pt").write_bytes(b"nothing")
    page = page_of(tmp_path, *two)
    assert "no example images of gone" in page.text and "no/such.beton" in page.text
    assert "two: linear.pt cannot be read" in page.text
    assert "Reliability: gone" in page.plots and "Reliability: photos" in page.plots


def test_a_file_that_was_encoded_anew_is_refused(tmp_path, beton):
    make_run(tmp_path / "one")
    add_rows(
        tmp_path / "one", {"kind": "accuracy", "set": "photos", "path": str(beton), "top1": 40}
    )
    add_predictions(tmp_path / "one", np.zeros(50, int), np.zeros(50, int), np.ones(50))
    page = page_of(tmp_path, str(tmp_path / "one"))
    assert (
        "holds 40 images, predictions are of image 49" in page.text
        and "Images and answers" not in page.text
    )


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
