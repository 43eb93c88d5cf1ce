"""The page of a first hour, as HTML and as Markdown: each figure beside its goal, then every row by
stage. It is made from the rows alone, with Python's own library."""

from __future__ import annotations

import html
from pathlib import Path

from fastneg.files import write_atomically
from fastneg.recipes.bench.first_hour.goals import GOALS
from fastneg.recipes.bench.first_hour.rows import Rows
from fastneg.recipes.bench.first_hour.stages import STAGES
from fastneg.recipes.bench.gpus import gpu_of

PAGE = "first_hour"
GOALS_FROM = (
    "A goal comes from counted bytes and operations, or from another figure of the same run; its "
    "basis stands beside it. The model is a roofline: counted bytes and operations at the rates of "
    "this machine's own copy and matrix product. A dash: not measured, or no goal for this device."
)
COLUMNS = {
    "ceilings": ("contender", "ms_median", "gb_s", "tflop_s", "us_median"),
    "info_nce": (
        *("N", "K", "pass", "cuda_graph", "contender", "ms_median", "ms_p20", "ms_p80"),
        *("peak_mib", "share_of_floor", "times_faster_than_eager"),
    ),
    "kernels": (
        *("bench", "contender", "N", "M", "H", "dtype", "ms_median", "ms_p20", "ms_p80"),
        *("images_per_s", "share_of_floor"),
    ),
    "loader": (
        *("contender", "threads", "hw_decoder_load", "images_per_s", "images_per_s_slowest"),
        "cpu_ms_per_image",
    ),
    "road": (
        *("contender", "measured", "N", "steps", "samples_per_s", "first_samples_per_s"),
        *("data_wait_share", "images", "images_per_s", "command_s", "peak_mib", "loss"),
    ),
}
STEP = (
    *("contender", "backbone", "image_size", "N", "ms_median", "ms_p20", "ms_p80"),
    *("samples_per_s", "times_of_fastneg", "flops_utilisation", "host_ms", "first_step_s"),
    *("peak_mib", "backend", "term", "gigabytes", "gflop", "modelled_ms", "share"),
    "modelled_samples_per_s",
)
COLUMNS |= {"step": STEP, "compile_graphs": STEP}


def write_page(folder):
    """Write first_hour.html and first_hour.md from the rows of a folder; returns their Paths."""
    blocks = list(page_blocks(Rows(folder)))
    files = {".html": as_html(blocks), ".md": as_markdown(blocks)}
    paths = []
    for suffix, text in files.items():
        paths.append(Path(folder) / f"{PAGE}{suffix}")
        write_atomically(paths[-1], lambda file, text=text: file.write(text.encode()))
    return paths


def page_blocks(found):
    """Yield (kind, content): ("title" | "heading" | "text", text) and ("table", (columns, rows)).

    Args:
        found: `Rows`.
    """
    rows, origins = found.latest(), found.origins()
    yield "title", "The first hour"
    if not origins:
        yield "text", "Nothing was measured."
        return
    yield from _origin(origins)
    yield "heading", "Figures beside goals"
    yield "table", _goals(rows, origins)
    yield "text", GOALS_FROM
    for stage in STAGES:
        if stage in origins:
            yield from _stage(stage, found.all(), [row for row in rows if row["stage"] == stage])
    absent = [stage for stage in STAGES if stage not in origins]
    if absent:
        yield "heading", "Not measured"
        yield "text", f"Stages that have not begun: {', '.join(absent)}."


def _origin(origins):
    names = dict.fromkeys(str(each["device_name"]) for each in origins.values())
    commits = dict.fromkeys(str(each["commit"]) for each in origins.values())
    last = list(origins.values())[-1]
    versions = ", ".join(f"{name} {version}" for name, version in last["versions"].items())
    yield (
        "text",
        f"{' and '.join(names)}, {last['cores']} cores, commit {', '.join(commits)}; {versions}.",
    )
    if any(each["device"] == "cpu" for each in origins.values()):
        yield (
            "text",
            "This is a rehearsal on a CPU with tiny sizes: it shows that every stage runs, and "
            "its times say nothing of a GPU.",
        )


def _goals(rows, origins):
    lines = []
    for goal in GOALS:
        gpu = gpu_of(origins.get(goal.stage, {}).get("device_name"))
        found, wanted = goal.measured(rows), goal.value(gpu, rows)
        verdict = "–"
        if found is not None and wanted is not None:
            verdict = "reached" if _reached(goal, found, wanted) else _missed(found, wanted)
        bound = "≥" if goal.at_least else "≤"
        wanted = "–" if wanted is None else f"{bound} {_text(wanted)} {goal.unit}".strip()
        found = "–" if found is None else f"{_text(found)} {goal.unit}".strip()
        model = goal.model(rows)
        model = "–" if model is None else f"{_text(model)} {goal.unit}".strip()
        lines.append((goal.about, found, wanted, verdict, model, goal.basis))
    return ("figure", "measured", "goal", "", "model", "basis of the goal"), lines


def _reached(goal, found, wanted):
    return found >= wanted if goal.at_least else found <= wanted


def _missed(found, wanted):
    return f"{found / wanted:.2f} of it" if wanted else "missed"


def _stage(stage, everything, rows):
    yield "heading", stage
    seconds = [
        row["seconds"]
        for row in everything
        if row.get("stage") == stage
        and row.get("job")
        and row.get("status") == "ended"
        and "seconds" in row
    ]
    yield "text", f"{STAGES[stage].about} {sum(seconds):.0f} s in {len(seconds)} finished jobs."
    if stage == "kernel_tests":
        yield from _tests(rows)
        rows = [row for row in rows if "test" not in row and row["status"] != "measured"]
    measured = [row for row in rows if row["status"] == "measured"]
    columns = [
        name
        for name in COLUMNS.get(stage, ())
        if any(row.get(name) is not None for row in measured)
    ]
    if measured:
        yield "table", (columns, [[_text(row.get(name)) for name in columns] for row in measured])
    for row in rows:
        if row["status"] in ("skipped", "failed", "stopped"):
            what = " · ".join(dict.fromkeys(_names(row))) or stage
            yield "text", f"{what}: {row['status']}: {row[row['status']]}"


def _names(row):
    """What a row is of, in words."""
    for name in ("job", "contender", "pass"):
        if row.get(name):
            yield str(row[name])
    if row.get("cuda_graph"):
        yield "CUDA graph"


def _tests(rows):
    tests = [row for row in rows if "test" in row]
    counts = {
        outcome: sum(row["outcome"] == outcome for row in tests)
        for outcome in ("passed", "failed", "skipped")
    }
    yield "text", ", ".join(f"{count} {outcome}" for outcome, count in counts.items()) + "."
    told = [row for row in tests if row["outcome"] != "passed"]
    if told:
        lines = [
            (row["test"], row["outcome"], row.get("failure") or row.get("skipped", ""))
            for row in told
        ]
        yield "table", (("test", "outcome", "why"), lines)


def _text(value):
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        whole = isinstance(value, int) or abs(value) >= 1000
        return f"{value:,.0f}" if whole else f"{value:.3g}"
    return str(value)


# --- as text --------------------------------------------------------------------------------------


def as_markdown(blocks):
    """The blocks of a page as Markdown."""
    parts = []
    for kind, content in blocks:
        if kind == "table":
            columns, rows = content
            clean = lambda cell: str(cell).replace("|", "\\|")
            lines = [columns, ["---"] * len(columns), *rows]
            parts.append("\n".join(f"| {' | '.join(map(clean, line))} |" for line in lines))
        else:
            parts.append({"title": "# ", "heading": "## ", "text": ""}[kind] + content)
    return "\n\n".join(parts) + "\n"


STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }
th, td { text-align: left; padding: .25rem .7rem; border-bottom: 1px solid #8884;
  vertical-align: top; font-variant-numeric: tabular-nums }
:root { color-scheme: light dark }
"""


def as_html(blocks):
    """The blocks of a page as one HTML file that loads nothing."""
    parts = []
    for kind, content in blocks:
        if kind == "table":
            columns, rows = content
            head = "".join(f"<th>{html.escape(str(name))}</th>" for name in columns)
            cells = lambda row: "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row)
            body = "".join(f"<tr>{cells(row)}</tr>" for row in rows)
            parts.append(f"<table><tr>{head}</tr>{body}</table>")
        else:
            tag = {"title": "h1", "heading": "h2", "text": "p"}[kind]
            parts.append(f"<{tag}>{html.escape(content)}</{tag}>")
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>The first hour</title>'
        f"<style>{STYLE}</style>\n" + "\n".join(parts) + "\n</html>\n"
    )
