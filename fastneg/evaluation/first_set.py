"""Evaluations of the first test set only: corruptions, and similarities of its features."""

from __future__ import annotations

from fastneg.config import ConfigError, UnfitError
from fastneg.data.errors import BetonError
from fastneg.evaluation.corruptions import ALL_15, CORRUPTIONS
from fastneg.evaluation.corruptions.robustness import evaluate_corruptions
from fastneg.evaluation.similarity import evaluate_similarity


def check_first(name, asked, kind, config):
    """ConfigError where --corruptions or --similarity ask for what the first set cannot give.

    Args:
        asked: `fastneg.evaluation.sets.named.NamedSet`.
        kind: its `SetKind`.
        config: EvaluateConfig.
    """
    if not kind.clean and (config.corruptions, config.similarity) != ("off", "off"):
        raise ConfigError(
            f"{asked.path} holds corrupted images: --corruptions and --similarity are for clean "
            "ones, so name those first."
        )
    if config.corruptions == "off":
        return
    if asked.metric == "texture":
        raise ConfigError(
            f"--corruptions {config.corruptions} is scored by labels, {name} by textures: name "
            "first a set without :texture."
        )
    if asked.metric == "shape_bias":
        raise ConfigError(
            f"--corruptions {config.corruptions} needs the accuracy of the first set, and {name} "
            "is asked for its shape bias alone: name first a set without :shape_bias."
        )


def lines_of_first(opened, rows):
    """Append the lines that --corruptions and --similarity ask for to those of a set.

    What fails here takes nothing from the figures before: they stand, and the failure is told.

    Args:
        opened: `OpenedSet`.
        rows: its lines of evaluation.jsonl so far, a list that grows.
    Returns:
        what failed, in words.
    """
    problems = []
    for flag, what, line in (
        ("corruptions", "under corruptions", _under_corruptions),
        ("similarity", "similarities", _similarities),
    ):
        try:
            if getattr(opened.context.config, flag) != "off":
                rows.append(line(opened, rows))
        except (BetonError, ConfigError, OSError) as error:
            problems.append(f"{what}: {error}")
    return problems


def clean_accuracy(rows, name):
    """Top-1 in percent of a set among lines of evaluation.jsonl, or None."""
    found = (row["top1"] for row in rows if row["kind"] == "accuracy" and row["set"] == name)
    return next(found, None)


def _under_corruptions(opened, rows):
    name, asked = opened.name, opened.context.config.corruptions
    clean = clean_accuracy(rows, name)
    if clean is None:
        raise UnfitError(
            f"--corruptions {asked} needs the accuracy of the first set, and {name} has none."
        )
    context = opened.context
    return evaluate_corruptions(
        name,
        opened.reader,
        context.loaded,
        context.head,
        clean,
        arg_max=context.config.arg_max,
        corruptions=ALL_15 if asked == "on" else tuple(CORRUPTIONS),
        view=opened.view,
        **context.computing(),
    )


def _similarities(opened, _):
    context = opened.context
    kinds, computing = context.config.similarity_kinds(), context.computing()
    return evaluate_similarity(context.run, opened.name, opened.reader, kinds=kinds, **computing)
