"""How far the answers of two runs agree: error consistency and reliability."""

import numpy as np
import pytest

from fastneg.recipes.presets import tiny_cpu
from fastneg.report.entries import group_runs
from fastneg.report.sections import agreement
from fastneg.runs import predictions
from fastneg.runs.folder import read_run
from helpers.report_runs import add_predictions, add_rows, make_run, page_of


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
