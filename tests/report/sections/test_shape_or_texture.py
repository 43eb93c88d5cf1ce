"""Decisions by shape and by texture, added up over the runs of an entry."""

from types import SimpleNamespace

from fastneg.report.sections.shape_or_texture import answered, pooled, section


def entry(*rows):
    return SimpleNamespace(rows=lambda kind, test_set: rows)


def test_counts_of_several_runs_are_added_up():
    cat, both = {"shape": 3, "texture": 1, "other": 0}, {"shape": 1, "texture": 1, "other": 5}
    found = pooled(entry({"by_category": {"cat": cat}}, {"by_category": {"cat": both}}), "cues")
    assert found == {"cat": {"shape": 4, "texture": 2, "other": 5}}


def test_shares_of_answers_are_means_over_the_runs_that_tell():
    rows = {"answered": {"cat": 20.0}}, {"answered": {"cat": 40.0}}, {}
    assert answered(entry(*rows), "cues") == {"cat": 30.0}


def test_without_a_set_there_is_no_section():
    assert section([]) is None
