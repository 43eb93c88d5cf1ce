"""fastneg bench: rows of figures, every contender measured in the same run."""

from __future__ import annotations

import csv
import io
import json
import sys
import time
from functools import partial
from pathlib import Path

import torch

from fastneg.files import output_file, refuse_twice, remove_stale, write_atomically
from fastneg.progress import time_left
from fastneg.recipes.bench.registry import ALL, BENCHES
from fastneg.runs.environment import environment


def run_bench(config):
    """Print the rows as they come, and write them as JSON lines if asked to; 1 if a benchmark gave
    none."""
    every = (bench for bench in BENCHES.values() if not bench.alone)
    chosen = every if config.name == ALL else [BENCHES[config.name]]
    loaded = [(bench, *bench.load()) for bench in chosen]
    plots = {bench.name: plot for bench, _, plot in loaded if plot is not None}
    outputs = _outputs(config, plots)
    where = environment(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    print(
        f"{where['device']}, {where['cores']} cores, commit {where['commit']}, "
        + ", ".join(f"{k} {v}" for k, v in where["versions"].items())
    )
    rows, began = [], time.perf_counter()
    for number, (bench, measure, _) in enumerate(loaded, 1):
        for row in measure(**bench.arguments(config)):
            rows.append(row)
            print(row_text(row), flush=True)
        if number < len(loaded):
            rest = (time.perf_counter() - began) / number * (len(loaded) - number)
            told = f"{bench.name}: {number} of {len(loaded)} benchmarks"
            print(f"{told}, about {time_left(rest)} left", file=sys.stderr, flush=True)
    origin = {"device_name": where["device"], "cores": where["cores"], "commit": where["commit"]}
    if config.json:
        _write(outputs["--json"], partial(_json_lines, rows, origin, where["versions"]))
    if config.csv:
        _write(outputs["--csv"], partial(_table, rows, origin, where["versions"]))
        for name, plot in plots.items():
            if drawn := [row for row in rows if row["bench"] == name]:
                _write(outputs[_plot_of(name)], partial(plot, drawn))
    if not rows:
        print("fastneg bench: no row was measured.", file=sys.stderr)
    return 0 if rows else 1


def _outputs(config, plots):
    """{flag: Path} of what a config asks to be written, whatever rows come.

    Raises:
        OutputError: one is no file, or two are the same file.
    """
    asked = {"--json": config.json, "--csv": config.csv}
    for name in plots if config.csv else ():
        suffix = f".{name}.svg" if config.name == ALL else ".svg"
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


def _json_lines(rows, origin, versions, file):
    for row in rows:
        file.write((json.dumps({**row, **origin, "versions": versions}) + "\n").encode())


def _table(rows, origin, versions, file):
    versions = {f"{name}_version": version for name, version in versions.items()}
    text = io.StringIO()
    table = csv.DictWriter(
        text, dict.fromkeys([*(f for row in rows for f in row), *origin, *versions])
    )
    table.writeheader()
    table.writerows({**row, **origin, **versions} for row in rows)
    file.write(text.getvalue().encode())


def row_text(row):
    """A row in one line, for a person."""
    return "  ".join(f"{field}={_short(value)}" for field, value in row.items())


def _short(value):
    return f"{value:.4g}" if isinstance(value, float) else value
