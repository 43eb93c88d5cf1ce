"""fastneg bench: rows of figures, every contender measured in the same run."""

from __future__ import annotations

import csv
import io
import json
import sys
from functools import partial
from pathlib import Path

import torch

from fastneg.files import output_file, refuse_twice, remove_stale, write_atomically
from fastneg.recipes.bench import augment as bench_augment
from fastneg.recipes.bench import checks as bench_checks
from fastneg.recipes.bench import compile as bench_compile
from fastneg.recipes.bench import corruptions as bench_corruptions
from fastneg.recipes.bench import encode as bench_encode
from fastneg.recipes.bench import info_nce as bench_info_nce
from fastneg.recipes.bench import loader as bench_loader
from fastneg.recipes.bench import order as bench_order
from fastneg.recipes.bench import patch_shuffle as bench_patch_shuffle
from fastneg.recipes.bench import scaling as bench_scaling
from fastneg.recipes.bench import step as bench_step
from fastneg.recipes.bench import textures as bench_textures
from fastneg.runs.environment import environment

BENCHES = {
    "info_nce": bench_info_nce.bench_info_nce,
    "patch_shuffle": bench_patch_shuffle.bench_patch_shuffle,
    "augment": bench_augment.bench_augment,
    "loader": bench_loader.bench_loader,
    "encode": bench_encode.bench_encode,
    "checks": bench_checks.bench_checks,
    "textures": bench_textures.bench_textures,
    "order": bench_order.bench_order,
    "corruptions": bench_corruptions.bench_corruptions,
    "compile": bench_compile.bench_compile,
    "step": bench_step.bench_step,
    "scaling": bench_scaling.bench_scaling,
}
OPTIONS = {"scaling": ("inside_gb_s", "between_gb_s", "latency_us")}
"""Fields of the config that a benchmark takes."""
PLOTS = {"info_nce": bench_info_nce.plot_info_nce, "loader": bench_loader.plot_loader}
"""Drawings of a benchmark's rows, written beside the table."""


def run_bench(config):
    """Print the rows as they come, and write them as JSON lines if asked to; 1 if a benchmark gave
    none."""
    outputs = bench_outputs(config)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    where = environment(device)
    print(
        f"{where['device']}, {where['cores']} cores, commit {where['commit']}, "
        + ", ".join(f"{k} {v}" for k, v in where["versions"].items())
    )
    rows = []
    for name in BENCHES if config.name == "all" else [config.name]:
        for row in BENCHES[name](
            **{option: getattr(config, option) for option in OPTIONS.get(name, ())}
        ):
            rows.append(row)
            print("  ".join(f"{field}={_short(value)}" for field, value in row.items()), flush=True)
    origin = {"device_name": where["device"], "cores": where["cores"], "commit": where["commit"]}
    if config.json:
        lines = [
            json.dumps({**row, **origin, "versions": where["versions"]}) + "\n" for row in rows
        ]
        _write(outputs["--json"], lambda file: file.write("".join(lines).encode()))
    if config.csv:
        versions = {f"{name}_version": version for name, version in where["versions"].items()}
        fields = [*dict.fromkeys(field for row in rows for field in row), *origin, *versions]
        text = io.StringIO()
        table = csv.DictWriter(text, fields)
        table.writeheader()
        table.writerows({**row, **origin, **versions} for row in rows)
        _write(outputs["--csv"], lambda file: file.write(text.getvalue().encode()))
        for name, plot in PLOTS.items():
            if drawn := [row for row in rows if row["bench"] == name]:
                _write(outputs[_plot_of(name)], partial(plot, drawn))
    if not rows:
        print("fastneg bench: no row was measured.", file=sys.stderr)
    return 0 if rows else 1


def bench_outputs(config):
    """{flag: Path} of what a BenchConfig asks to be written, whatever rows come.

    Raises:
        OutputError: one is no file, or two are the same file.
    """
    asked = {"--json": config.json, "--csv": config.csv}
    if config.csv:
        for name in PLOTS if config.name == "all" else PLOTS.keys() & {config.name}:
            suffix = f".{name}.svg" if config.name == "all" else ".svg"
            asked[_plot_of(name)] = Path(config.csv).with_suffix(suffix)
    outputs = {flag: output_file(path, flag) for flag, path in asked.items() if path}
    refuse_twice(outputs)
    return outputs


def _plot_of(name):
    return f"the plot of {name} beside --csv"


def _write(path, write):
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_stale(path)
    write_atomically(path, write)


def _short(value):
    return f"{value:.4g}" if isinstance(value, float) else value
