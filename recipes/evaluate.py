"""fastneg evaluate."""

from __future__ import annotations

import sys
from pathlib import Path

from fastneg.config import ConfigError
from fastneg.counts import counted
from fastneg.data.encode.outputs import named_data
from fastneg.data.errors import BetonError
from fastneg.distributed import choose_device
from fastneg.evaluation.categories import load_categories, load_groups
from fastneg.evaluation.corruptions import ALL_15, CORRUPTIONS, SEVERITIES
from fastneg.evaluation.corruptions.robustness import evaluate_corruptions
from fastneg.evaluation.default_answer import told_of_default
from fastneg.evaluation.evaluate import evaluate_set
from fastneg.evaluation.linear import load_linear
from fastneg.evaluation.sets.files import open_set
from fastneg.evaluation.sets.imagenet_c import PARTS, TREE, evaluate_imagenet_c, is_corrupted
from fastneg.evaluation.sets.named import parse_sets
from fastneg.evaluation.sets.view import WHOLE, is_published, view_of
from fastneg.evaluation.shared import mark_shared
from fastneg.evaluation.similarity import evaluate_similarity
from fastneg.evaluation.untrained import verdict_of
from fastneg.runs.load import load_run
from fastneg.runs.outputs import evaluation_output
from fastneg.runs.results import append_result, refuse_other

CORRUPTED = ("corruptions", PARTS, TREE)


def run_evaluate(config):
    """Evaluate every set that can be read, print a table, append the figures; 1 if a set could not
    be evaluated, or not wholly."""
    sets, device = parse_sets(config.sets), choose_device(config.device)
    _guard(config, sets)
    loaded = load_run(config.run, device)
    head = load_linear(config.run, loaded)
    files = {
        "categories": load_categories(config.categories),
        "groups": None if config.groups is None else load_groups(config.groups),
    }
    if files["groups"] is not None and all(found.metric != "texture" for found in sets.values()):
        raise ConfigError("--groups has no effect: none of --sets is NAME=PATH:texture.")
    options = {"arg_max": config.arg_max, "device": device, "threads": config.threads}
    rows, failed = [], []
    for number, (name, wanted) in enumerate(sets.items()):
        try:
            first = config if number == 0 else config.replace(corruptions="off", similarity="off")
            found, problems = _evaluate(
                name, wanted, first, loaded, head, _clean(rows), files, options
            )
        except (BetonError, ConfigError, OSError) as error:
            found, problems = [], [str(error)]
        for problem in problems:
            print(f"fastneg evaluate: {name}: {problem}", file=sys.stderr)
        failed += [name] if problems else []
        for row in found:
            append_result(config.run, row)
        rows += found
    print(table(rows, sets))
    for remark in remarks(rows, config.run):
        print(remark)
    if failed:
        print(
            f"fastneg evaluate: {len(failed)} of {counted(len(sets), 'set')} could not be "
            f"evaluated wholly: {', '.join(failed)}.",
            file=sys.stderr,
        )
    return 1 if failed else 0


def _guard(config, sets):
    """OutputError if a file that is written into the run is one of the sets, or a list of names."""
    lists = [path for path in (config.categories, config.groups) if path is not None]
    inputs = named_data(*(found.path for found in sets.values()))
    evaluation_output(config.run, [*inputs, *lists], predictions=sets)


def _evaluate(name, wanted, config, loaded, head, clean_top1, files, options):
    """(rows of one set, what was missing of it in words)"""
    (path, metric, resize), run = wanted, config.run
    if metric != "shape_bias":
        refuse_other(run, name, "arg_max", options["arg_max"], "with --arg_max")
    if metric == "corruptions" or (metric is None and is_corrupted(path)):
        if config.corruptions != "off" or config.similarity != "off":
            raise ConfigError(
                f"{path} holds corrupted images: --corruptions and --similarity are for clean "
                "ones, so name those first."
            )
        if not Path(path).is_dir():
            raise ConfigError(
                f"{path} is no folder: ImageNet-C's {path}/<corruption>/<1-5>/<class>/ or "
                "…/<1-5>.beton was expected."
            )
        refuse_other(run, name, "resize", str(resize or WHOLE), "with resize")
        return evaluate_imagenet_c(
            run, name, path, loaded, head, clean_top1, **options, resize=resize
        )
    known = None if head.classes is None else {*head.classes, *files["categories"]}
    with open_set(path, run, options["threads"], known=known, classes=head.classes) as reader:
        view = view_of(resize, is_published(name, path, reader), loaded.config)
        refuse_other(run, name, "resize", str(view.resize), "with resize")
        found = evaluate_set(
            run, name, reader, loaded, head, metric=metric, view=view, **files, **options
        )
        problems = _extras(name, reader, metric, config, loaded, head, view, found, options)
        mark_shared(name, found, reader, head)
        return found, problems


def _extras(name, reader, metric, config, loaded, head, view, found, options):
    """Append the lines that were asked for beside the figures of a set; what failed, in words.

    What fails here takes nothing from the figures before: they stand, and the failure is told.
    """
    problems, corruptions = [], config.corruptions
    try:
        if corruptions != "off":
            if metric == "texture":
                raise ConfigError(
                    f"--corruptions {corruptions} is scored by labels, {name} by textures: name "
                    "first a set without :texture."
                )
            names = ALL_15 if corruptions == "on" else tuple(CORRUPTIONS)
            clean = _clean(found, name)
            if clean is None:
                raise ConfigError(
                    f"--corruptions {corruptions} needs the accuracy of the first set, and {name} "
                    "has none."
                )
            shown = {"corruptions": names, "view": view, **options}
            found.append(evaluate_corruptions(name, reader, loaded, head, clean, **shown))
    except (BetonError, ConfigError, OSError) as error:
        problems.append(f"under corruptions: {error}")
    try:
        if config.similarity != "off":
            where = {"device": options["device"], "threads": config.threads}
            kinds = config.similarity_kinds()
            found.append(evaluate_similarity(config.run, name, reader, kinds=kinds, **where))
    except (BetonError, ConfigError, OSError) as error:
        problems.append(f"similarities: {error}")
    return problems


def _clean(rows, name="val"):
    """Top-1 of a set among the rows, or None."""
    return next(
        (row["top1"] for row in rows if row["kind"] == "accuracy" and row["set"] == name), None
    )


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
    for name in sets:
        row, bias = found.get(("accuracy", name)), found.get(("shape_bias", name))
        if row is None and bias is None:
            below = any((kind, name) in found for kind in CORRUPTED)
            lines.append(f"{name:<{width}}  " + ("see below" if below else "not evaluated"))
            continue
        share = ""
        if bias is not None:
            share = "none" if bias["shape_bias"] is None else f"{bias['shape_bias']:.1f}"
            share += f" ({bias['coverage']:.1f}), chance coverage {bias['chance_coverage']:.1f}"
        figures = (
            f"{'':7}  {'':7}  {bias['images']:7}  {'':7}"
            if row is None
            else (f"{row['top1']:7.2f}  {row['top5']:7.2f}  {row['images']:7}  {row['classes']:7}")
        )
        lines.append(f"{name:<{width}}  {figures}  {share}".rstrip())
    for (kind, name), row in found.items():
        if kind in CORRUPTED:
            lines += [f"{name} under corruptions: {text}" for text in _means(row)]
            for each, values in row["by_corruption"].items():
                if kind == TREE:
                    lines.append(
                        f"  {each:<24}"
                        + "".join(f"  {severity}: {top1:.1f}" for severity, top1 in values.items())
                    )
                    continue
                by_severity = (
                    values
                    if isinstance(values, dict)
                    else dict(zip(map(str, SEVERITIES), values, strict=True))
                )
                lines.append(
                    f"  {each:<18}"
                    + "".join(
                        f"{by_severity[s]:7.1f}" if (s := str(k)) in by_severity else f"{'–':>7}"
                        for k in SEVERITIES
                    )
                )
    return "\n".join(lines)


def _means(row):
    """The lines that tell the means of a row of corrupted images, and what they do not mean."""
    if row["kind"] == PARTS:
        return [f"with some of the severities, and in no mean, {row['source']}"]
    if row["kind"] == TREE:
        mean, over = row["tree_mean_top1"], f"the mean over {len(row['corruptions'])} corruptions"
        told = "no corruption is whole" if mean is None else f"top-1 {mean:.2f}%, {over}"
        return [f"{told}, {row['source']}", row["mean_note"]]
    mean = row["partial_mean_top1"] if row["mean_top1"] is None else row["mean_top1"]
    over = f"{len(row['of_the_15'])} of ImageNet-C's 15 corruptions"
    lines = [f"top-1 {mean:.2f}%, the mean over 5 severities of {over}, {row['source']}"]
    lines += [row["mean_note"]] if "mean_note" in row else []
    if row["mce"] is not None:
        relative = "not known" if row["relative_mce"] is None else f"{row['relative_mce']:.1f}%"
        lines.append(f"mCE {row['mce']:.1f}%, relative mCE {relative} (AlexNet: 100%)")
    return lines + ([row["mce_note"]] if "mce_note" in row else [])
