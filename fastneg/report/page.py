"""The report: reads runs, makes sections, and writes the page, which loads nothing from the
network."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup

from fastneg.files import OutputError, output_file, output_folder, remove_stale, write_atomically
from fastneg.report import exports, likeness
from fastneg.report.blocks import Report, figure_text, with_own_names
from fastneg.report.entries import group_runs, sets_of
from fastneg.report.layout import arranged
from fastneg.report.plots.style import DARK, LIGHT, MARKERS, SERIES, marker
from fastneg.report.plots.svg import inline_svg, natural_size
from fastneg.report.remarks import remarks
from fastneg.report.sections import (
    agreement,
    alpha,
    classes,
    corruptions,
    examples,
    representation,
    results,
    settings,
    shape_or_texture,
    training,
)
from fastneg.runs.folder import read_run, run_names
from fastneg.runs.outputs import refuse_among, run_inputs
from fastneg.version import __version__

SECTIONS = (
    results.section,
    alpha.section,
    shape_or_texture.section,
    corruptions.section,
    classes.section,
    agreement.section,
    representation.section,
    training.section,
    training.gallery,
    settings.section,
    settings.environment,
    settings.commands,
)


def write_report(config, tell=lambda line: None):
    """Write the page, and its plots and tables as files where asked; returns the page's Path.

    Args:
        config: ReportConfig, whose runs are run folders. What is missing or damaged in one is named
            on the page, and the rest is shown.
        tell: called with lines for a person: what is missing or damaged, what could not be drawn.
    Raises:
        ConfigError: no runs, one that comes twice, a folder that holds no run. OutputError: an
            `out` that is no .html file, or an input.
    """
    out, files = report_output(config), files_folder(config.out)
    report = make_report(config.runs, config.group)
    for line in [
        *(f"{run}: {problem}" for run, problem in report.problems),
        *(f"not comparable: {words}" for words in report.unlike),
    ]:
        tell(line)
    for sentence in report.remarks:
        tell(f"read with care: {sentence}")
    write_page(report, out, files if config.files == "on" else None, tell)
    return Path(config.out)


def write_page(report, out, files, tell, **head):
    """Write a report's page, and its plots and tables into a folder.

    Args:
        report: `Report`.
        out: the file, as `page_output` gave it.
        files: the folder; None for none.
        tell: called with a line where the plots lack a font.
        head: as of `render_page`.
    """
    page = render_page(report, **head)
    out.parent.mkdir(parents=True, exist_ok=True)
    remove_stale(out)
    write_atomically(out, lambda file: file.write(page.encode("utf-8")))
    if files is not None:
        _, unknown = exports.write_files(report, files)
        if unknown:
            tell(
                f"{files}/: no font installed here has {unknown} (Noto Sans CJK might): SVG and "
                "PNG files show boxes instead."
            )


def report_output(config):
    """Where the page goes, as a Path: --out, or what it links to.

    An OutputError where that, or the folder of plots and tables, is or would mix with what a run
    holds.
    """
    inputs = [path for run in config.runs for path in run_inputs(run)]
    out, folders = page_output(config.out, inputs), []
    if config.files == "on":
        folders.append(files_folder(config.out))
        output_folder(folders[0], "the folder of --files", [*config.runs, *inputs])
    for run in config.runs:
        for path in (config.out, *folders):
            refuse_among(path, run, "--out")
    return out


def page_output(out, inputs, harmless=lambda name: False):
    """Where a page goes, as `fastneg.files.output_file` has it; an OutputError too where `out` is
    no name of a page."""
    if Path(out).is_dir() or not is_page(out):
        raise OutputError(
            f"--out is {out}: a file to write was expected, such as report.html, whose name ends "
            "in .html."
        )
    return output_file(out, "--out", inputs, harmless)


def is_page(name):
    return Path(name).suffix.lower() in (".html", ".htm")


def files_folder(out):
    """Where the plots and tables of a page go: report.html → report-files/."""
    return Path(out).with_name(f"{Path(out).stem}-files")


def make_report(folders, group="seeds"):
    """The Report of some run folders; `group` as in `entries.group_runs`."""
    runs = [
        read_run(folder, name) for folder, name in zip(folders, run_names(folders), strict=True)
    ]
    entries = group_runs(runs, group)
    problems = [(run.name, problem) for run in runs for problem in run.problems]
    problems += likeness.shared_problems(runs)
    sections = [section for make in SECTIONS if (section := make(entries))]
    pictures = examples.section(entries, problems)
    if pictures:
        names = [section.name for section in sections]
        before = next(
            (names.index(name) for name in ("features", "training", "gallery") if name in names),
            len(names),
        )
        sections.insert(before, pictures)
    taken = set()
    sections = [
        replace(section, blocks=with_own_names(section.blocks, taken)) for section in sections
    ]
    shown = [figure.kind for figure in results.all_figures(entries)]
    unlike = likeness.warnings(entries, dict.fromkeys([*shown, "shape_bias", "texture_classes"]))
    sets = dict.fromkeys([*sets_of(entries, "accuracy"), *sets_of(entries, "shape_bias")])
    report = Report(entries, sections, results.headline(entries), problems, unlike)
    report.remarks = remarks(entries, sets)
    return report


def render_page(report, **head):
    """The HTML text of a Report.

    Args:
        head: title, subtitle, several and many_runs, where they are not those of run folders; lead:
            a sentence on top.
    """
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(
        loader=loader,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        arranged=lambda blocks: arranged(blocks, cache(natural_size)),
        figure_text=figure_text,
        plot_svg=lambda plot, size=None: Markup(inline_svg(plot, size)),
        mark=lambda number: MARKERS.index(marker(number)),
        series=SERIES,
    )
    head = head or {
        "lead": "",
        "several": len(report.entries) > 1,
        "many_runs": sum(len(entry.runs) for entry in report.entries) > 1,
        "title": title(report.entries),
        "subtitle": subtitle(report.entries[0]),
    }
    return environment.get_template("page.html.jinja").render(
        report=report,
        entries=report.entries,
        **head,
        light=LIGHT,
        dark=DARK,
        version=__version__,
    )


def title(entries):
    """What the page is about: the names of a few entries, or how many they are."""
    names = " · ".join(entry.name for entry in entries)
    if len(entries) == 1 or (len(entries) <= 4 and len(names) <= 80):
        return names
    runs = sum(len(entry.runs) for entry in entries)
    return (
        f"{runs} runs side by side"
        if runs == len(entries)
        else f"{runs} runs, {len(entries)} settings"
    )


def subtitle(entry):
    """An entry in one line, as far as it is known."""
    config, surroundings = entry.config, entry.runs[0].environment
    parts = [config.get("method"), config.get("backbone")]
    parts += [f"weights of {Path(run.imported).name}" for run in entry.runs[:1] if run.imported]
    parts += [f"{name} {config[name]}" for name in ("negatives", "epochs") if name in config]
    parts += [entry.seeds, surroundings.get("device"), surroundings.get("started")]
    return " · ".join(str(part) for part in parts if part)
