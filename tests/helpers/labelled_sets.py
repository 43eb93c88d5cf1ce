"""Labelled test sets, opened as `fastneg evaluate` opens them."""

from fastneg.evaluation.sets.registry import kind_of


def open_set(path, run, workers=0, report=print, known=None, classes=None):
    """A context manager that gives a reader of a labelled set; arguments as of `SetKind.open`."""
    options = {"workers": workers, "report": report, "known": known, "classes": classes}
    return kind_of(path, "accuracy").open(path, run, **options)
