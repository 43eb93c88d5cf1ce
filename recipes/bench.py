"""fastneg bench: rows of figures, every contender measured in the same run."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import torch

from fastneg.recipes import (
    bench_augment,
    bench_checks,
    bench_compile,
    bench_corruptions,
    bench_encode,
    bench_info_nce,
    bench_loader,
    bench_order,
    bench_patch_shuffle,
    bench_scaling,
    bench_step,
    bench_textures,
)
from fastneg.training.metrics import environment

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
    """Print the rows as they come, and write them as JSON lines if asked to; 1 if a benchmark gave none."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    where = environment(device)
    print(
        f"{where['device']}, {where['cores']} cores, commit {where['commit']}, "
        + ", ".join(f"{k} {v}" for k, v in where["versions"].items())
    )
    rows = []
    for name in BENCHES if config.name == "all" else [config.name]:
        for row in BENCHES[name](**{option: getattr(config, option) for option in OPTIONS.get(name, ())}):
            rows.append(row)
            print("  ".join(f"{field}={_short(value)}" for field, value in row.items()), flush=True)
    origin = {"device_name": where["device"], "cores": where["cores"], "commit": where["commit"]}
    if config.json:
        lines = [json.dumps({**row, **origin, "versions": where["versions"]}) + "\n" for row in rows]
        Path(config.json).write_text("".join(lines), encoding="utf-8")
    if config.csv:
        versions = {f"{name}_version": version for name, version in where["versions"].items()}
        fields = [*dict.fromkeys(field for row in rows for field in row), *origin, *versions]
        with open(config.csv, "w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, fields)
            table.writeheader()
            table.writerows({**row, **origin, **versions} for row in rows)
        for name, plot in PLOTS.items():
            if drawn := [row for row in rows if row["bench"] == name]:
                plot(drawn, Path(config.csv).with_suffix(f".{name}.svg" if config.name == "all" else ".svg"))
    if not rows:
        print("fastneg bench: no row was measured.", file=sys.stderr)
    return 0 if rows else 1


def _short(value):
    return f"{value:.4g}" if isinstance(value, float) else value
