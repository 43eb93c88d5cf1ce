"""fastneg evaluate."""

from __future__ import annotations

import dataclasses
import sys

from fastneg.config import ConfigError
from fastneg.counts import counted
from fastneg.data.encode.outputs import named_data
from fastneg.data.errors import BetonError
from fastneg.distributed import choose_device
from fastneg.evaluation.by_class import told_of_default
from fastneg.evaluation.categories import load_groups
from fastneg.evaluation.context import Context
from fastneg.evaluation.evaluate import check_sets, evaluate_set
from fastneg.evaluation.first_set import clean_accuracy
from fastneg.evaluation.linear import load_linear
from fastneg.evaluation.sets.categories_16 import load_categories
from fastneg.evaluation.sets.named import parse_sets
from fastneg.evaluation.sets.registry import told_of
from fastneg.evaluation.untrained import verdict_of
from fastneg.runs.load import load_run
from fastneg.runs.outputs import evaluation_output
from fastneg.runs.results import append_result


def run_evaluate(config):
    """Evaluate every set that can be read, print a table, append the figures.

    Returns:
        1 if a set could not be evaluated, or not wholly; 2 if that is the command line's fault.
    """
    sets, device = parse_sets(config.sets), choose_device(config.device)
    _guard(config, sets)
    loaded = load_run(config.run, device)
    check_sets(sets, config, loaded.config)
    context = Context(
        config,
        loaded,
        load_linear(config.run, loaded),
        load_categories(config.categories),
        None if config.groups is None else load_groups(config.groups),
        device=device,
    )
    if config.groups is not None and all(asked.metric != "texture" for asked in sets.values()):
        raise ConfigError("--groups has no effect: none of --sets is NAME=PATH:texture.")
    rows, failed, code = _evaluated(sets, context)
    print(table(rows, sets))
    for remark in remarks(rows, config.run):
        print(remark)
    if failed:
        print(
            f"fastneg evaluate: {len(failed)} of {counted(len(sets), 'set')} could not be "
            f"evaluated wholly: {', '.join(failed)}.",
            file=sys.stderr,
        )
    return code


def _evaluated(sets, context):
    """(lines of evaluation.jsonl, names of sets that failed, exit code) of all sets, one after the
    other: one that fails does not stop the others."""
    config, rows, failed, code = context.config, [], [], 0
    for name, asked in sets.items():
        context = dataclasses.replace(context, clean_top1=clean_accuracy(rows, "val"))
        try:
            found, problems = evaluate_set(name, asked, context)
        except (BetonError, ConfigError, OSError) as error:
            found, problems = [], [str(error)]
            code = max(code, getattr(error, "exit_code", 1))
        for problem in problems:
            print(f"fastneg evaluate: {name}: {problem}", file=sys.stderr)
        if problems:
            failed, code = [*failed, name], max(code, 1)
        for row in found:
            append_result(config.run, row)
        rows += found
        later = config.replace(corruptions="off", similarity="off")  # both of the first set alone
        context = dataclasses.replace(context, config=later)
    return rows, failed, code


def _guard(config, sets):
    """OutputError if a file that is written into the run is one of the sets, or a list of names."""
    lists = [path for path in (config.categories, config.groups) if path is not None]
    inputs = named_data(*(found.path for found in sets.values()))
    evaluation_output(config.run, [*inputs, *lists], predictions=sets)


def remarks(rows, run):
    """What the figures alone would hide, in lines: a default answer, an encoder that is no better
    than an untrained one."""
    told = {}
    for row in rows:
        if said := told_of_default(row.get("most_answered")):
            told.setdefault(
                row["set"], f"NOTE: {row['set']}: {said}; recall rewards it, precision does not."
            )
    said = verdict_of(run)
    return [*told.values(), *([f"NOTE: the encoder is {said}."] if said else [])]


def table(rows, sets):
    """The figures as aligned text, a line for each set."""
    found = {(row["kind"], row["set"]): row for row in rows}
    width = max(len("set"), *map(len, sets))
    lines = [f"{'set':<{width}}  top-1 %  top-5 %   images  classes  shape bias % (coverage %)"]
    below = [(row["set"], told) for row in rows if (told := told_of(row))]
    for name in sets:
        row, bias = found.get(("accuracy", name)), found.get(("shape_bias", name))
        if row is None and bias is None:
            told = name in dict(below)
            lines.append(f"{name:<{width}}  " + ("see below" if told else "not evaluated"))
            continue
        lines.append(f"{name:<{width}}  {_figures(row, bias)}".rstrip())
    return "\n".join([*lines, *(text for _, own in below for text in own)])


def _figures(row, bias):
    """The columns of a set: its line of accuracy, its line of shape bias, or both."""
    share = ""
    if bias is not None:
        share = "none" if bias["shape_bias"] is None else f"{bias['shape_bias']:.1f}"
        share += f" ({bias['coverage']:.1f}), chance coverage {bias['chance_coverage']:.1f}"
    if row is None:
        return f"{'':7}  {'':7}  {bias['images']:7}  {'':7}  {share}"
    return f"{row['top1']:7.2f}  {row['top5']:7.2f}  {row['images']:7}  {row['classes']:7}  {share}"
