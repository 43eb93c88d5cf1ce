"""The report on sets that are shown whole, scored in categories, or corrupted in other ways."""

import numpy as np

from fastneg.runs.folder import read_run
from helpers.report_runs import add_predictions, add_rows, make_run, page_of

CATEGORIES = {"airplane": 1, "bear": 4, "bicycle": 2, "bird": 52, "boat": 5}


def test_sets_shown_whole_and_scored_in_categories(tmp_path):
    run = make_run(tmp_path / "a")
    shown = {"resize": "none", "resize_by": "published", "categories": CATEGORIES}
    usual = {"resize": 37, "resize_by": "run"}
    line = {"kind": "accuracy", "top1": 45.0, "images": 160, "classes": 4}
    bias = {"kind": "shape_bias", "shape_bias": 30.0, "coverage": 50.0, "by_category": {}}
    add_rows(
        tmp_path / "a",
        {**line, "set": "edges", **shown},
        {**line, "set": "photos", **usual},
        {**line, "set": "scaled", "resize": 64, "resize_by": "hand"},
        {**bias, "set": "cues", "chance_coverage": 12.5},
    )
    page = page_of(tmp_path, run)
    edges = page.row("edges")
    assert "answered in 5 categories, not resized, not cropped" in edges[0]
    assert edges[-1] == "20.0", "chance is one in five categories"
    assert "resize" not in (words := page.row("photos")[0]) and "px" not in words
    assert "shorter side 64 px" in page.row("scaled")[0]
    shown = [row[1] for row in page.rows("chance coverage")]
    assert shown == ["16.7", "12.5"], "an earlier line does not say it: its classifier's classes do"
    assert "whose cues conflict" in page.text


def test_figures_of_different_views_are_not_compared(tmp_path):
    runs = [make_run(tmp_path / name) for name in ("a", "b")]
    line = {"kind": "accuracy", "set": "edges", "top1": 45.0, "images": 160, "classes": 4}
    for folder, resize in (("a", "none"), ("b", 37)):
        add_rows(tmp_path / folder, {**line, "resize": resize, "resize_by": "hand"})
    assert "resize differs" in page_of(tmp_path, *runs).text


def test_other_corruptions_have_a_mean_of_their_own(tmp_path):
    run = make_run(tmp_path / "a")
    tree = {"fog_3d": {"1": 60.0, "5": 40.0}, "sparkles": {"2.35": 10.0}}
    common = {"kind": "corruption_tree", "images": 50, "classes": 4, "source": "files of 3dcc"}
    means = {"tree_mean_top1": 30.0, "corruptions": ["fog_3d", "sparkles"]}
    add_rows(tmp_path / "a", {**common, "set": "3dcc", "by_corruption": tree, **means})
    add_rows(tmp_path / "a", {**common, "set": "damaged", "by_corruption": {}, **means})
    page = page_of(tmp_path, run)
    assert page.row("fog 3d")[1:2] == ["50.0"] and "severities 1, 5" in page.row("fog 3d")[0]
    assert "Mean over other corruptions" in page.text and page.row("3dcc")[1].startswith("30.0")
    assert "a number for each severity of each corruption were expected" in page.text


def test_answers_in_categories_are_named_for_them(tmp_path):
    folder = tmp_path / "a"
    make_run(folder)
    add_predictions(folder, [0, 1], [1, 1], [0.5, 0.5], name="edges")
    arrays = dict(np.load(folder / "predictions" / "edges.npz"))
    np.savez(folder / "predictions" / "edges.npz", **arrays, classes=np.array(list(CATEGORIES)))
    run = read_run(folder, "a")
    assert [run.class_name(n, "edges") for n in (0, 1)] == ["airplane", "bear"]
    assert run.class_name(0) == run.class_name(0, "photos") == "a"
