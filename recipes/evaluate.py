"""fastneg evaluate."""

from __future__ import annotations

import sys

from fastneg.config import ConfigError
from fastneg.data.beton import BetonError
from fastneg.data.shards import open_data
from fastneg.evaluation.corruptions import ALL_15, CORRUPTIONS
from fastneg.evaluation.evaluate import evaluate_set
from fastneg.evaluation.linear import load_linear
from fastneg.evaluation.robustness import evaluate_corruptions
from fastneg.evaluation.run import append_result, load_run
from fastneg.evaluation.test_sets import parse_sets
from fastneg.training.distributed import choose_device


def run_evaluate(config):
    """Evaluate every set that can be read, print a table, append the figures; 1 if a set could not be evaluated."""
    sets, device = parse_sets(config.sets), choose_device(config.device)
    loaded = load_run(config.run, device)
    head = load_linear(config.run, loaded)
    options = {"arg_max": config.arg_max, "device": device, "threads": config.threads}
    rows, failed = [], []
    for number, (name, path) in enumerate(sets.items()):
        try:
            with open_data(path) as reader:
                found = evaluate_set(config.run, name, reader, loaded, head, **options)
                if number == 0 and config.corruptions != "off":
                    names = ALL_15 if config.corruptions == "on" else tuple(CORRUPTIONS)
                    found.append(evaluate_corruptions(name, reader, loaded, head, found[0]["top1"], corruptions=names, **options))
        except (BetonError, ConfigError, OSError) as error:
            print(f"fastneg evaluate: {name}: {error}", file=sys.stderr)
            failed.append(name)
            continue
        for row in found:
            append_result(config.run, row)
        rows += found
    print(table(rows, sets))
    if failed:
        print(f"fastneg evaluate: {len(failed)} of {len(sets)} sets could not be evaluated: {', '.join(failed)}.", file=sys.stderr)
    return 1 if failed else 0


def table(rows, sets):
    """The figures as aligned text, a line for each set."""
    found = {(row["kind"], row["set"]): row for row in rows}
    width = max(len("set"), *map(len, sets))
    lines = [f"{'set':<{width}}  top-1 %  top-5 %   images  classes  shape bias % (coverage %)"]
    for name in sets:
        row, bias = found.get(("accuracy", name)), found.get(("shape_bias", name))
        if row is None:
            lines.append(f"{name:<{width}}  not evaluated")
            continue
        share = ""
        if bias is not None:
            share = "none" if bias["shape_bias"] is None else f"{bias['shape_bias']:.1f}"
            share += f" ({bias['coverage']:.1f})"
        lines.append(f"{name:<{width}}  {row['top1']:7.2f}  {row['top5']:7.2f}  {row['images']:7}  {row['classes']:7}  {share}".rstrip())
    for (kind, name), row in found.items():
        if kind == "corruptions":
            lines.append(
                f"{name} under corruptions: top-1 {row['mean_top1']:.2f}%, the mean over 5 severities of {len(row['of_the_15'])} of "
                f"ImageNet-C's 15 corruptions, {row['source']}"
            )
            if row["mce"] is not None:
                lines.append(f"  mCE {row['mce']:.1f}%, relative mCE {row['relative_mce']:.1f}% (AlexNet: 100%)")
            lines += [f"  {each:<18}" + "".join(f"{value:7.1f}" for value in values) for each, values in row["by_corruption"].items()]
    return "\n".join(lines)
