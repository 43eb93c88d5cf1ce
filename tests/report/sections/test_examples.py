"""Example images stand with the answers that the runs gave."""

import base64
import shutil

import numpy as np

from fastneg.data.beton.reader import BetonReader
from fastneg.recipes.presets import tiny_cpu
from fastneg.report.entries import group_runs
from fastneg.report.sections import examples
from fastneg.runs.folder import read_run
from helpers.report_runs import add_predictions, add_rows, make_run, page_of


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
