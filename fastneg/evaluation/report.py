"""One self-contained HTML page about one or more runs: figures, plots, images, settings. It loads nothing from anywhere."""

from __future__ import annotations

import dataclasses
import json
import shlex
import statistics
from pathlib import Path

import jinja2
from markupsafe import Markup

from fastneg.config import PretrainConfig, field_docs
from fastneg.evaluation import plots
from fastneg.evaluation.run_folder import is_number, read_run, run_names
from fastneg.training.checkpoint import write_atomically
from fastneg.version import __version__

PROBES = {"linear": "linear probe", "knn": "kNN"}


def write_report(config):
    """Write the page and return its Path.

    Args:
        config: ReportConfig. Each run is a folder with config.json, environment.json, metrics.jsonl, evaluation.jsonl and gallery/. What is
            missing or damaged is named on the page, and the rest is shown.
    Raises:
        ConfigError: no runs, one that comes twice, or a folder that holds no run.
    """
    runs = [read_run(folder, name) for folder, name in zip(config.runs, run_names(config.runs), strict=True)]
    page = render_page(runs)
    out = Path(config.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, lambda file: file.write(page.encode("utf-8")))
    return out


def render_page(runs):
    """The HTML text of a page about some runs."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals.update(Markup=Markup, series=plots.SERIES)
    table = result_table(runs)
    return environment.get_template("report.html.jinja").render(
        runs=runs,
        version=__version__,
        subtitle=subtitle(runs[0]),
        tiles=headline(runs),
        table=table,
        bars=_bars(runs, table),
        curves=_curves(runs),
        biases=_biases(runs),
        corruptions=_corruptions(runs),
        gallery=[run for run in runs if run.gallery],
        views=max((3 + len(row["negatives"]) for run in runs for row in run.gallery), default=3),
        settings=settings_table(runs),
        environment=environment_table(runs),
        commands=[(run.name, command, recorded) for run in runs for command, recorded in [reproduce(run)] if command or recorded],
    )


def subtitle(run):
    """A run in one line, as far as it is known."""
    settings, surroundings = run.config, run.environment
    parts = [settings.get("method"), settings.get("backbone")]
    parts += [f"{name} {settings[name]}" for name in ("negatives", "epochs") if name in settings]
    return " · ".join(str(part) for part in (*parts, surroundings.get("device"), surroundings.get("started")) if part)


def _named(runs, pick):
    return [(run.name, pick(run)) for run in runs]


def _cells(values, highest_is_best=True):
    """Values of one row of a table, with the best marked where two or more runs have one."""
    known = [value for value in values if value is not None]
    best = (max if highest_is_best else min)(known) if len(known) > 1 else None
    return [{"value": value, "best": value is not None and best is not None and round(value, 2) == round(best, 2)} for value in values]


def headline(runs):
    """The few figures at the top: {"label", "note", "unit", "cells"}."""
    tiles = []

    def tile(label, unit, values, note="", digits=1, mark=True):
        if any(value is not None for value in values):
            cells = _cells(values) if mark else [{"value": value, "best": False} for value in values]
            tiles.append({"label": label, "unit": unit, "cells": cells, "note": note, "digits": digits})

    for kind, name in PROBES.items():
        for test_set in _sets(runs, kind)[:1]:
            files = dict.fromkeys(Path(str(_figure(run, kind, test_set, "path") or test_set)).stem for run in runs)
            tile(f"{name}, top-1", "%", [_figure(run, kind, test_set, "top1") for run in runs], pretty(" / ".join(files)))
    for test_set in _sets(runs, "shape_bias")[:1]:
        values = [_figure(run, "shape_bias", test_set, "shape_bias") for run in runs]
        coverage = [_figure(run, "shape_bias", test_set, "coverage") for run in runs]
        shown = " / ".join("–" if value is None else f"{value:.0f}%" for value in coverage)
        tile("shape bias", "%", values, f"{pretty(test_set)}, coverage {shown}", mark=False)
    for test_set in _sets(runs, "corruptions")[:1]:
        tile("under corruption, top-1", "%", [_figure(run, "corruptions", test_set, "mean_top1") for run in runs], pretty(test_set))
    speeds = [[row["images_per_s"] for row in run.rows if "images_per_s" in row] for run in runs]
    tile("training", "images/s", [statistics.median(speed) if speed else None for speed in speeds], "median", digits=0, mark=False)
    return tiles


def _sets(runs, kind):
    """Test sets that any run has a result of this kind for, in the order of their first appearance."""
    return list(dict.fromkeys(test_set for run in runs for found, test_set in run.results if found == kind))


def _figure(run, kind, test_set, name):
    return run.results.get((kind, test_set), {}).get(name)


def pretty(name):
    """A set's or field's name as words."""
    return name.replace("_", " ")


def result_table(runs):
    """Groups of rows, a row for each test set: {"title", "rows": [{"set", "name", "note", "chance", "cells"}]}."""
    groups = []
    for title, kind, figure in (
        ("Linear probe", "linear", "top1"),
        ("kNN", "knn", "top1"),
        ("Test sets", "accuracy", "top1"),
        ("Mean over corruptions", "corruptions", "mean_top1"),
    ):
        rows = []
        for test_set in _sets(runs, kind):
            lines = [run.results.get((kind, test_set), {}) for run in runs]
            cells = _cells([line.get(figure) for line in lines])
            row = {"set": test_set, "name": pretty(test_set), "note": _note(test_set, lines), "chance": _chance(runs, lines)}
            rows.append({**row, "cells": cells})
        if rows:
            groups.append({"title": title, "kind": kind, "rows": rows})
    return groups


def _note(test_set, lines):
    """What the lines of a row say beside the figure; several values where the runs disagree."""

    def said(name, wording, wanted=lambda value: True):
        values = dict.fromkeys(wording(line[name]) for line in lines if line.get(name) is not None and wanted(line[name]))
        return [" / ".join(values)] if values else []

    parts = said("path", lambda path: Path(str(path)).name, lambda path: Path(str(path)).stem != test_set)
    parts += said("images", lambda count: f"{count:,} images", is_number) + said("classes", lambda count: f"{count:,} classes", is_number)
    parts += said("mode", str) + said("arg_max", lambda word: f"arg-max over {word} classes", lambda word: word != "all")
    return ", ".join(parts + _origin(lines))


def _origin(lines):
    """How corrupted images came about, and how many of the published corruptions they cover."""
    known = dict.fromkeys(str(line["source"]) for line in lines if line.get("source"))
    published = [line["of_the_15"] for line in lines if isinstance(line.get("of_the_15"), list)]
    counts = dict.fromkeys(f"{len(names)} of the 15 corruptions of ImageNet-C" for names in published)
    return [" / ".join(values) for values in (known, counts) if values]


def _chance(runs, lines):
    """Top-1 of guessing, in percent: 100 / classes that can be answered. None where the runs differ or do not say."""
    answers = set()
    for run, line in zip(runs, lines, strict=True):
        probes = [row for (kind, _), row in run.results.items() if kind in PROBES]
        # A classifier over all its classes can answer those that do not occur in a set.
        rows = [line] if line.get("kind") in PROBES or line.get("arg_max") == "present" else [line, *probes]
        counts = [row["classes"] for row in rows if is_number(row.get("classes")) and row["classes"] > 0]
        if line:
            answers.add(max(counts, default=None))
    return 100 / answers.pop() if len(answers) == 1 and None not in answers else None


def _bars(runs, table):
    rows = {row["set"]: row for group in table if group["kind"] == "accuracy" for row in group["rows"]}
    if not rows:
        return None
    values = _named(runs, lambda run: {pretty(s): run.results["accuracy", s]["top1"] for s in rows if ("accuracy", s) in run.results})
    chances = {row["name"]: row["chance"] for row in rows.values() if row["chance"] is not None}
    return Markup(plots.bars("bars", "Top-1 accuracy by test set", [row["name"] for row in rows.values()], values, chances))


def _curves(runs):
    """The plots of training: {"title", "caption", "svg"}."""
    rows = _named(runs, lambda run: run.rows)
    ranks = {"acc1": "top-1", "acc5": "top-5"}
    similarities = {"positive_similarity": "positive", "negative_similarity": "non-semantic negative", "queue_similarity": "queue"}
    wanted = (
        ("Loss", "InfoNCE, the mean since the line before.", {"loss": ""}, {}),
        ("Contrast accuracy", "How often the positive beats the whole queue and the negatives.", ranks, {"percent": True, "lowest": 0}),
        ("Similarities", "Mean cosine of the query and each kind of key.", similarities, {}),
        ("Throughput", "Images a second, all processes together.", {"images_per_s": ""}, {"lowest": 0}),
    )
    shown = []
    for number, (title, caption, quantities, options) in enumerate(wanted):
        svg = plots.curves(f"curve{number}", title, rows, quantities, **options)
        if svg:
            shown.append({"title": title, "caption": caption, "svg": Markup(svg)})
    return shown


def _biases(runs):
    """For each cue-conflict set {"name", "svg", "runs": [{"shape_bias", "coverage"}]}."""
    shown = []
    for number, test_set in enumerate(_sets(runs, "shape_bias")):
        lines = _named(runs, lambda run, test_set=test_set: run.results.get(("shape_bias", test_set), {}).get("by_category", {}))
        categories = list(dict.fromkeys(name for _, counts in lines for name in counts))
        label = f"Shape or texture by category: {pretty(test_set)}"
        svg = plots.category_matrix(f"bias{number}", label, categories, lines) if categories else ""
        figures = [{name: _figure(run, "shape_bias", test_set, name) for name in ("shape_bias", "coverage")} for run in runs]
        shown.append({"name": pretty(test_set), "svg": Markup(svg), "runs": figures})
    return shown


def _corruptions(runs):
    """For each corrupted set {"name", "svg", "origin", "rows": [{"name", "cells": [[five percents] or None for each run], "means"}]}."""
    shown = []
    for number, test_set in enumerate(_sets(runs, "corruptions")):
        series = [run.results.get(("corruptions", test_set), {}).get("by_corruption", {}) for run in runs]
        names = list(dict.fromkeys(name for by_corruption in series for name in by_corruption))
        curves = []
        for run, by_corruption in zip(runs, series, strict=True):
            clean = _figure(run, "accuracy", test_set, "top1")
            mean = [statistics.mean(values) for values in zip(*by_corruption.values(), strict=True)]
            curves.append((run.name, ([clean] if clean is not None and mean else []) + mean))
        rows = []
        for name in names:
            values = [by_corruption.get(name) for by_corruption in series]
            means = _cells([statistics.mean(five) if five else None for five in values])
            rows.append({"name": pretty(name), "cells": values, "means": means})
        svg = Markup(plots.severity(f"severity{number}", f"Accuracy by severity: {pretty(test_set)}", curves))
        origin = "; ".join(_origin([run.results.get(("corruptions", test_set), {}) for run in runs]))
        shown.append({"name": pretty(test_set), "svg": svg, "rows": rows, "origin": origin})
    return shown


def _shown(value):
    if value is None:
        return "–"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def settings_table(runs):
    """{"rows": every field of the configs with its help and its value for each run, "differing": those that differ between runs}."""
    docs = field_docs(PretrainConfig)
    defaults = PretrainConfig().as_dict()
    present = dict.fromkeys(name for run in runs for name in run.config)
    names = [*(name for name in defaults if name in present), *(name for name in present if name not in defaults)]
    rows = []
    for name in names:
        values = [run.config.get(name, "–") if run.config else "–" for run in runs]
        distinct = {json.dumps(value, sort_keys=True) for value, run in zip(values, runs, strict=True) if run.config}
        rows.append(
            {
                "name": name,
                "help": docs.get(name, ""),
                "values": [{"text": _shown(value), "changed": name in defaults and value not in ("–", defaults[name])} for value in values],
                "differs": len(distinct) > 1,
            }
        )
    return {"rows": rows, "differing": [row for row in rows if row["differs"] and row["name"] != "out"]}


def environment_table(runs):
    """Rows (name, value for each run) of environment.json, nested objects flattened."""
    flat = []
    for run in runs:
        flat.append({})
        for name, value in run.environment.items():
            flat[-1].update(value if isinstance(value, dict) else {name: value})
    names = list(dict.fromkeys(name for values in flat for name in values if name != "command"))
    return [(name, [_shown(values.get(name)) for values in flat]) for name in names]


def reproduce(run):
    """(a full command line that trains with these settings or None, the command that was given or None)."""
    recorded = run.environment.get("command")
    known = {item.name: item.default for item in dataclasses.fields(PretrainConfig)}
    if not run.config:
        return None, recorded
    # The defaults of PretrainConfig are those of this preset.
    words = ["fastneg", "pretrain", "--preset", "moco_patch_in100"]
    for name, value in run.config.items():
        if name in ("data", "out") or (name in known and value != known[name]):
            words += [f"--{name}", str(value)]
    return shlex.join(words), recorded
