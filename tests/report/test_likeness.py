"""Figures that came about differently are not compared in silence (fastneg.report.likeness)."""

import re

import torch

from fastneg.recipes.presets import tiny_cpu, tiny_cpu_moco
from fastneg.report import likeness
from fastneg.report.entries import group_runs
from fastneg.runs.folder import read_run
from helpers.report_runs import add_rows, make_run, page_of


def two(tmp_path, **changes):
    """Entries of two runs whose lines of the set `x` differ as told: {field: (value of one, of the
    other)}."""
    for number, name in enumerate(("one", "two")):
        make_run(tmp_path / name, tiny_cpu().replace(lr=0.1 + number))
        row = {
            "kind": "accuracy",
            "set": "x",
            "top1": 50.0 + number,
            "images": 100,
            "classes": 4,
            "path": "data/x.beton",
        }
        row["top1_interval"] = [row["top1"] - 0.4, row["top1"] + 0.4]
        add_rows(
            tmp_path / name, row | {field: values[number] for field, values in changes.items()}
        )
    return group_runs([read_run(tmp_path / name, name) for name in ("one", "two")])


def test_equal_conditions_are_comparable_wherever_the_file_lies(tmp_path):
    entries = two(
        tmp_path, path=("data/x.beton", "/elsewhere/x.beton"), checkpoint=("a.pt", "b.pt")
    )
    assert (
        likeness.unlike(entries, "accuracy", "x") == {}
        and likeness.warning(entries, "accuracy", "x") == ""
    )
    cells = [entry.cell("accuracy", "x", "top1") for entry in entries]
    assert [cell.best for cell in likeness.marked(entries, "accuracy", "x", cells)] == [False, True]


def test_other_images_are_no_match_and_none_is_the_best(tmp_path):
    entries = two(tmp_path, images=(100, 200), path=("x.beton", "y.beton"))
    assert likeness.unlike(entries, "accuracy", "x") == {
        "file": ["x.beton", "y.beton"],
        "images": ["100", "200"],
    }
    assert likeness.warning(entries, "accuracy", "x") == "not comparable: file, images differ"
    cells = [entry.cell("accuracy", "x", "top1") for entry in entries]
    assert not any(cell.best for cell in likeness.marked(entries, "accuracy", "x", cells))
    assert likeness.warnings(entries, ["accuracy"]) == [
        "accuracy x (file: x.beton / y.beton; images: 100 / 200)"
    ]


def test_files_are_known_by_their_content_where_the_lines_tell_it(tmp_path):
    named_alike = two(tmp_path / "a", path=("x/val.beton", "y/val.beton"), data=("1a", "2b"))
    assert likeness.unlike(named_alike, "accuracy", "x") == {
        "file": ["val.beton (1a)", "val.beton (2b)"]
    }
    one_set = two(tmp_path / "b", path=("x.beton", "copy.beton"), data=("1a", "1a"))
    assert likeness.unlike(one_set, "accuracy", "x") == {}
    other = two(tmp_path / "c", path=("x.beton", "y.beton"), data=("1a", "2b"))
    assert likeness.unlike(other, "accuracy", "x") == {"file": ["x.beton", "y.beton"]}
    for name, known in (("one", "1a"), ("two", "2b")):
        row = {"kind": "knn", "set": "val", "top1": 5.0, "train": "t.beton", "train_data": known}
        add_rows(tmp_path / "c" / name, row)
        facts = {"classes": list("abcd"), "mode": "lbfgs", "train": "t.beton", "train_data": known}
        torch.save(facts, tmp_path / "c" / name / "linear.pt")
    entries = group_runs([read_run(tmp_path / "c" / name, name) for name in ("one", "two")])
    told = ["t.beton (1a)", "t.beton (2b)"]
    assert likeness.unlike(entries, "knn", "val") == {"training file": told}
    assert likeness.unlike(entries, "linear", "val") == {"probe trained on": told}


def test_a_field_that_an_earlier_version_did_not_write_is_no_difference(tmp_path):
    assert likeness.unlike(two(tmp_path, arg_max=("all", None)), "accuracy", "x") == {}


def test_classifiers_trained_on_other_images_or_in_other_ways(tmp_path):
    two(tmp_path)
    for name, mode, train in (
        ("one", "features", "a/train.beton"),
        ("two", "lbfgs", "b/decorrelated.beton"),
    ):
        torch.save(
            {"classes": list("abcd"), "mode": mode, "train": train}, tmp_path / name / "linear.pt"
        )
    entries = group_runs([read_run(tmp_path / name, name) for name in ("one", "two")])
    expected = {
        "probe": ["features", "lbfgs"],
        "probe trained on": ["train.beton", "decorrelated.beton"],
    }
    for kind, test_set in (
        ("linear", "val"),
        ("accuracy", "x"),
        ("shape_bias", "swapped"),
        ("corruptions", "in_domain"),
    ):
        assert likeness.unlike(entries, kind, test_set) == expected
    assert likeness.unlike(entries, "knn", "val") == {}  # needs no classifier


def test_the_page_says_so_at_the_top_and_at_the_row(tmp_path):
    two(tmp_path, images=(100, 200))
    page = page_of(tmp_path, str(tmp_path / "one"), str(tmp_path / "two"))
    assert "Not comparable accuracy x (images: 100 / 200)" in page.text
    assert (
        page.row("x")[0].endswith("not comparable: images differs")
        and "not comparable" not in page.row("in domain120")[0]
    )
    assert not re.search(r'class="n best"><span class="v">51\.0', page.source)


def test_differences_and_curves_over_alpha_carry_the_warning_too(tmp_path):
    configs = {
        f"a{alpha}-s{seed}": tiny_cpu().replace(alpha=alpha, seed=seed)
        for alpha in (1.0, 2.0)
        for seed in (0, 1)
    }
    configs |= {f"moco-s{seed}": tiny_cpu_moco().replace(seed=seed) for seed in (0, 1)}
    for name, config in configs.items():
        make_run(tmp_path / name, config, top1=60.0 + len(name) + config.seed)
    add_rows(
        tmp_path / "a1.0-s0",
        {"kind": "accuracy", "set": "in_domain", "top1": 61.0, "images": 7, "classes": 12},
    )
    page = page_of(tmp_path, *(str(tmp_path / name) for name in configs))
    warned = [
        cells[0] for cells in page.tables if cells and cells[0].startswith("top-1, in domain")
    ]
    assert len(warned) == 2 and all(
        cell.endswith("not comparable: images differs") for cell in warned
    )


def test_a_file_under_two_names_and_in_several_runs_is_said_once(tmp_path):
    shared = {"path": "x/in_domain.beton"}
    names = ("a", "b", "c", "d")
    for name in names:
        make_run(tmp_path / name)
        rows = [{"kind": kind, "set": "val", "top1": 50.0, **shared} for kind in ("linear", "knn")]
        rows += [
            {"kind": "accuracy", "set": each, "top1": 50.0, **shared} for each in ("one", "two")
        ]
        add_rows(tmp_path / name, *({**row, likeness.FIELD: 6} for row in rows))
    text = page_of(tmp_path, *(str(tmp_path / name) for name in names), group="none").text
    assert text.count("are in the training set too, byte for byte") == 1
    assert "4 runs: 6 images of val / one / two are in the training set too" in text
    assert text.count("one and two are one file, in_domain.beton: it counts once.") == 1
