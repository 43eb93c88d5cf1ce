"""The page's plots and tables as files: SVG and PNG of each plot, CSV and LaTeX of each table."""

from __future__ import annotations

import csv
import io
import re
import warnings

import matplotlib

from fastneg.files import write_atomically
from fastneg.report.blocks import Plot, figure_text, leaves
from fastneg.report.plots.style import drawn, paper

DOTS_PER_INCH = 200
CONTENTS = "CONTENTS.txt"
_LATEX = {letter: "\\" + letter for letter in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "α": r"$\alpha$",
    "±": r"$\pm$",
    "·": r"$\cdot$",
    "–": "--",
    "−": "$-$",
    "+": "$+$",
    "…": r"\dots{}",
    "×": r"$\times$",
    "|": r"\textbar{}",
    # A row that began with one of these would be read as the argument of the \\ before it.
    "[": "{[}",
    "\0": "{}",
    "*": "{*}",
}


def write_files(report, folder):
    """Write every plot and table of a Report into a folder.

    Returns (the paths, letters that no installed font could draw).

    CONTENTS.txt lists the files with their titles. Files that an earlier report left there, by its
    own list, are removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = [entry.name for entry in report.entries]
    written, unknown = {}, set()
    for block in [block for section in report.sections for block in leaves(section.blocks)]:
        title = block.title or block.name
        for suffix, content in (
            _plot_files(block, names, unknown) if isinstance(block, Plot) else _table_files(block)
        ).items():
            written[f"{block.name}.{suffix}"] = title
            write_atomically(
                folder / f"{block.name}.{suffix}", lambda file, content=content: file.write(content)
            )
    contents = folder / CONTENTS
    earlier = (
        [line.split("\t")[0] for line in contents.read_text(encoding="utf-8").splitlines()]
        if contents.exists()
        else []
    )
    lines = "".join(f"{name}\t{title}\n" for name, title in written.items())
    write_atomically(contents, lambda file: file.write(lines.encode()))
    for name in set(earlier) - set(written):
        if re.fullmatch(r"[\w.-]+\.(svg|png|csv|tex)", name):
            (folder / name).unlink(missing_ok=True)
    return [folder / name for name in written], "".join(sorted(unknown))


def _plot_files(plot, names, unknown):
    style = paper(names if plot.legend else ())
    figure = drawn(plot, style, named=True)
    files = {}
    # Letters as outlines: the file looks the same on every machine.
    settings = {**style.settings(), "svg.fonttype": "path", "svg.hashsalt": plot.name}
    with matplotlib.rc_context(settings), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for suffix, options in (
            ("svg", {"metadata": {"Date": None}}),
            ("png", {"dpi": DOTS_PER_INCH}),
        ):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=suffix, facecolor="white", **options)
            files[suffix] = buffer.getvalue()
    unknown.update(
        chr(int(found[1]))
        for warning in told
        if (found := re.match(r"Glyph (\d+) ", str(warning.message)))
    )
    return files


def _table_files(table):
    return {"csv": to_csv(table).encode(), "tex": to_latex(table).encode()}


def _spreads(table, number):
    """Which spreads any cell of a column has."""
    cells = [row.cells[number] for row in table.rows]
    return any(cell.std is not None for cell in cells), any(cell.interval for cell in cells)


def to_csv(table):
    """A table as CSV.

    Each column gives its values at full precision, and std or low and high where any of its cells
    has them.
    """
    grouped, noted = any(row.group for row in table.rows), any(row.note for row in table.rows)
    head = ["group"] * grouped + [table.head or "name"] + ["note"] * noted
    spreads = [_spreads(table, number) for number in range(len(table.columns))]
    for column, (std, interval) in zip(table.columns, spreads, strict=True):
        head += (
            [column.name]
            + [f"{column.name} std"] * std
            + [f"{column.name} low", f"{column.name} high"] * interval
        )
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(head)
    for row in table.rows:
        line = [row.group] * grouped + [row.head] + [row.note] * noted
        for cell, (std, interval) in zip(row.cells, spreads, strict=True):
            line += [cell.text if cell.text is not None else cell.value]
            line += [cell.std] * std + list(cell.interval or (None, None)) * interval
        writer.writerow(["" if value is None else value for value in line])
    return buffer.getvalue()


def to_latex(table):
    """A table as a LaTeX tabular, which needs the package booktabs.

    Best values are bold, standard deviations and intervals small.
    """
    columns = "l" + "".join("r" if column.figures else "l" for column in table.columns)
    lines = [
        f"% {table.title}".rstrip(),
        r"% \usepackage{booktabs}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
    ]
    lines += [
        _latex_row([latex(table.head), *(latex(column.name) for column in table.columns)]),
        r"\midrule",
    ]
    group = ""
    for row in table.rows:
        if row.group != group:
            lines += [r"\addlinespace"] * bool(group)
            lines.append(
                rf"\multicolumn{{{len(columns)}}}{{l}}{{\textit{{{latex(row.group)}}}}} \\"
            )
            group = row.group
        lines.append(
            _latex_row([latex(row.head), *(_latex_cell(cell, table) for cell in row.cells)])
        )
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _latex_row(cells):
    return " & ".join(cells) + r" \\"


def _latex_cell(cell, table):
    if cell.text is not None:
        return latex(cell.text)
    if cell.value is None:
        return "--"

    def figure(value, signed=table.signed):
        return latex(figure_text(value, table.digits, signed))

    text = rf"\textbf{{{figure(cell.value)}}}" if cell.best else figure(cell.value)
    if cell.std is not None:
        text += rf" {{\scriptsize $\pm$ {figure(cell.std, False)}}}"
    elif cell.interval:
        text += rf" {{\scriptsize [{', '.join(map(figure, cell.interval))}]}}"
    return text


def latex(text):
    """A text with what LaTeX reads as commands escaped."""
    text = re.sub("-(?=-)", "-\0", " ".join(text.split()))  # two hyphens would become a dash
    return "".join(_LATEX.get(letter, letter) for letter in text)
