"""Evaluate a run on a test set: the kind of the set says how."""

from __future__ import annotations

from fastneg.evaluation.sets.registry import kind_of
from fastneg.runs.results import refuse_other


def evaluate_set(name, asked, context):
    """(lines of evaluation.jsonl of a set, what was missing of it or failed in words).

    Args:
        name: of the set.
        asked: `fastneg.evaluation.sets.named.NamedSet`: its path, METRIC and resize.
        context: `fastneg.evaluation.context.Context`: the run, and how it is evaluated.
    Raises:
        ConfigError, BetonError, OSError: the set cannot be evaluated.
    """
    arg_max = context.config.arg_max
    if asked.metric != "shape_bias":  # which knows no arg-max over some of the classes
        refuse_other(context.run, name, "arg_max", arg_max, "with --arg_max")
    return kind_of(asked.path, asked.metric).evaluate(name, asked, context)
