"""Evaluate a run on a test set: the kind of the set says how."""

from __future__ import annotations

import contextlib

from fastneg.config import ConfigError, UnfitError
from fastneg.data.errors import BetonError
from fastneg.evaluation.first_set import check_first
from fastneg.evaluation.sets.registry import kind_of
from fastneg.evaluation.view import chosen_view
from fastneg.runs.results import refuse_other


def check_sets(sets, config, settings):
    """Refuse what is wrong in the names, paths and options of the sets, before one is evaluated.

    What only an open set shows, or cannot be read here, is left to `evaluate_set`.

    Args:
        sets: {name: `NamedSet`}.
        config: EvaluateConfig.
        settings: PretrainConfig of the run.
    Raises:
        ConfigError: the first fault, after the name of its set.
    """
    for position, (name, asked) in enumerate(sets.items()):
        try:
            with contextlib.suppress(BetonError, OSError, UnfitError):
                kind = kind_of(asked.path, asked.metric)
                if position == 0:
                    check_first(name, asked, kind, config)
            if asked.metric != "shape_bias":
                refuse_other(config.run, name, "arg_max", config.arg_max, "with --arg_max")
            if asked.resize is not None:
                resize = str(chosen_view(asked.resize, None, settings).resize)
                refuse_other(config.run, name, "resize", resize, "with resize")
        except ConfigError as error:
            raise ConfigError(f"{name}: {error}") from error


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
