"""The page of a study: its verdict in one sentence, four figures, their numbers, further arms."""

from __future__ import annotations

import statistics
from typing import NamedTuple

from fastneg.config import UnfitError
from fastneg.counts import counted
from fastneg.report.blocks import Cell, Column, Fold, Plot, Report, Row, Section, Table, pretty
from fastneg.report.page import files_folder, is_page, page_output, write_page
from fastneg.report.plots import study as plots
from fastneg.report.study_tables import runs_table, verdict_table
from fastneg.study.folder import conditions, dose_of, facts_of, results_of, rows_of, size_of
from fastneg.study.plan import CONTROL, FIGURES, LONGER, PLAIN, TREATMENT, UNBIASED, figures_of
from fastneg.study.statistics import paired
from fastneg.study.verdict import IN_DOMAIN, MEANINGFUL, OUTCOMES, judge, sentence

SHARE = "softmax share of the negatives, %"
CURVES = {
    "negative_share": "share of the softmax",
    "negative_similarity": "similarity to the query",
}
HINT = (
    "Exploratory: these arms were not named before, their intervals are not corrected for their "
    "number. They are hints for another study."
)


EQUAL_TIME = (
    f"{TREATMENT.capitalize()} against the plain arm on the same seeds, where the plain arm trains "
    "for about the time that the negatives cost. The verdict is at equal steps; this is a second "
    "view."
)


class Arm(NamedTuple):
    """An arm as the page's legend shows an entry."""

    name: str
    seeds: str
    number: int
    """Of its colour."""
    rows: dict
    """{seed: its row of results}."""

    @property
    def drawn(self):
        return self.number, self.name, self.rows


def write_study_report(folder, out, tell=lambda line: None, doses=None):
    """Write the page of a study, and its figures and tables as files beside; the page's Path.

    Args:
        folder: of `fastneg study`.
        out: the .html file to write.
        tell: called with lines for a person: what could not be drawn.
        doses: {stage: the dose to show}; default: that of the stage's newest run.
    Raises:
        ConfigError: the study has no results yet. OutputError: `out` is no .html file, or what the
            study holds.
    """
    out = study_output(folder, out)
    report, head = make_study_report(folder, doses)
    write_page(report, out, files_folder(out), tell, **head)
    return out


def study_output(folder, out):
    """Where the page goes, as `page_output` has it: in the study's own folder over pages alone."""
    return page_output(out, [folder], harmless=is_page)


def make_study_report(folder, doses=None):
    """(`Report`, what stands in the head of its page) of a study's folder; `doses` as of
    `write_study_report`."""
    facts, rows, doses = facts_of(folder), results_of(folder), doses or {}
    size = size_of(facts)
    if not rows:
        raise UnfitError(f"{folder} holds no results yet: fastneg study --out {folder} makes them.")
    dose = doses.get("main") or dose_of(rows, "main", size)
    main, explore = (
        rows_of(rows, "main", dose, size),
        rows_of(rows, "explore", doses.get("explore")),
    )
    arms = _arms(main)
    sections = _main(arms, main, size.judged) if main else []
    strong = "How strong the negatives may be: on seeds of its own."
    for stage, title, caption, found in (
        ("explore", "Further arms", HINT, explore),
        ("dose", "The dose", strong, rows_of(rows, "dose")),
    ):
        if found:
            plain = [row for row in found if row["arm"] == PLAIN]
            second = (name for name in figures_of(found) if name in UNBIASED)
            short = (IN_DOMAIN, *_outcomes(found), "coverage", *second, SHARE)
            table = _table(f"{stage}-arms", "", _arms(found), plain, short)
            sections.append(Section(stage, title, (table,), caption, legend=False))
    if equal := _equal_time(main, explore):
        sections.append(equal)
    sections.append(Section("runs", "The runs", (runs_table(rows),), legend=False))
    head = {
        "title": "Does the method work?",
        "lead": _told(facts, main, dose),
        "subtitle": conditions(facts, rows),
        "several": False,  # the arms' colours are told above the figures
        "many_runs": True,
    }
    return Report(arms, sections), head


def _arms(rows):
    """`Arm`s in the order in which they first come; the same arm of two stages is one."""
    found = {}
    for row in rows:
        found.setdefault(row["arm"], {}).setdefault(row["seed"], row)
    return [
        Arm(name, counted(len(own), "seed"), number, own)
        for number, (name, own) in enumerate(found.items())
    ]


def _told(facts, main, dose):
    """The verdict in one sentence, or why there is none yet."""
    if not any(row["arm"] == PLAIN for row in main):
        lacking = f" of the arm {PLAIN}" if main else ""
        return f"No verdict yet: the main stage has no runs{lacking}."
    if not size_of(facts).judged:
        seeds = counted(len({row["seed"] for row in main}), "seed")
        return (
            f"No verdict ({seeds}; {conditions(facts, main)}): its rules are those of the built-in "
            "set. Below are the differences with their intervals, which say nothing of other data, "
            "networks, sizes or lengths of training."
        )
    return sentence(judge(main), conditions(facts, main, dose))


def _outcomes(rows):
    """The two figures out of domain that stand first: of photographs others than of stencils."""
    here = figures_of(rows)
    return tuple(name for name in (*OUTCOMES, "corrupted") if name in here)[:2]


def _main(arms, rows, judged):
    outcomes = _outcomes(rows)
    named = {arm.name: arm for arm in arms}
    drawn = [
        (
            Plot(
                "per-seed",
                f"{' and '.join(map(pretty, outcomes)).capitalize()}, seed by seed",
                lambda style: plots.per_seed(style, [arm.drawn for arm in arms], outcomes),
                "A line joins the runs of a seed, alike but for their negatives. Bar: the mean.",
                legend=False,
            ),
            _by_seed(arms, outcomes),
        ),
        (
            Plot(
                "trade",
                f"In domain against {pretty(outcomes[0])}",
                lambda style: plots.trade(
                    style, [arm.drawn for arm in arms], IN_DOMAIN, outcomes[0]
                ),
                "Small: a seed. Large: the mean, with its 95% interval over seeds.",
            ),
            _table("trade", "", arms, None, (IN_DOMAIN, outcomes[0])),
        ),
    ]
    compared = [
        (named[other], found)
        for other in (PLAIN, CONTROL)
        if other in named
        and TREATMENT in named
        and (found := _differences(named[TREATMENT], named[other]))
    ]
    if compared:
        shown = figures_of(rows)
        series = [(arm.number, found) for arm, found in compared]
        plot = Plot(
            "differences",
            f"What {TREATMENT} changes, by test set",
            lambda style: plots.differences(style, shown, series, MEANINGFUL),
            f"Mean paired difference and its 95% interval over seeds, {TREATMENT} against the arm "
            f"of the colour; within the shade of ±{MEANINGFUL:g} point it matters little.",
        )
        drawn.append((plot, _difference_table(shown, compared)))
    if any(row.get("curve") for row in rows):
        plot = Plot(
            "over-training",
            "What the negatives weigh, over training",
            lambda style: plots.over_training(style, [arm.drawn for arm in arms], CURVES),
            "Mean over seeds, and a band from the lowest to the highest. An arm without negatives "
            "has them measured, not trained on.",
        )
        drawn.append((plot, _curve_table(arms)))
    figures, numbers = zip(*drawn, strict=True)  # the figures side by side, the numbers below
    blocks = (*figures, Fold("The figures of these plots", numbers))
    sections = [Section("figures", "Figures", blocks)]
    tables = [verdict_table(rows)] if compared and judged and judge(rows).comparisons else []
    full = (*figures_of(rows), "untrained", SHARE, "seconds")
    tables.append(_table("arms", "All figures, mean over seeds", arms, None, full))
    return [*sections, Section("figures-in-numbers", "In numbers", tuple(tables), legend=False)]


def _values(arm, name):
    return [row[name] for row in arm.rows.values() if row.get(name) is not None]


def _mean_cell(values):
    if not values:
        return Cell()
    std = statistics.stdev(values) if len(values) > 1 else None
    return Cell(statistics.fmean(values), std, runs=len(values))


def _equal_time(main, explore):
    """The treatment beside the plain arm that trained for about as long; None where no seed has
    both."""
    longer = [row for row in explore if row["arm"] == LONGER]
    seeds = {row["seed"] for row in longer}
    treated = [row for row in main if row["arm"] == TREATMENT and row["seed"] in seeds]
    if not treated:
        return None
    fields = (IN_DOMAIN, *_outcomes(treated), "steps", "train_seconds")
    table = _table("equal-time", "", _arms([*longer, *treated]), longer, fields)
    return Section("equal-time", "Equal time", (table,), EQUAL_TIME, legend=False)


def _table(name, title, arms, plain, fields):
    """Means of arms over seeds; with rows of the plain arm, also paired differences from it."""
    base = {row["seed"]: row for row in plain or ()}
    columns = [Column(pretty(field)) for field in fields]
    extra = (IN_DOMAIN, *_outcomes(plain)) if base else ()
    against = plain[0]["arm"] if base else PLAIN
    columns += [Column(f"{pretty(field)} − {pretty(against)}") for field in extra]
    rows = []
    for arm in arms:
        shares = [100 * value for value in _values(arm, "negative_share")]
        cells = [_mean_cell(shares if field == SHARE else _values(arm, field)) for field in fields]
        for field in extra:
            found = _paired(arm.rows, base, field) if arm.name != against else None
            cells.append(Cell(found.mean, interval=(found.low, found.high)) if found else Cell())
        rows.append(Row(pretty(arm.name), tuple(cells), note=arm.seeds))
    return Table(name, title, "arm", tuple(columns), tuple(rows))


def _paired(rows, base, field):
    """`Paired` differences of one field over the seeds that both have; None below two."""
    seeds = [
        seed
        for seed in sorted(rows.keys() & base.keys())
        if rows[seed].get(field) is not None and base[seed].get(field) is not None
    ]
    if len(seeds) < 2:
        return None
    return paired(rows[seed][field] - base[seed][field] for seed in seeds)


def _differences(arm, other):
    """{outcome: `Paired`} of one arm against another."""
    found = {name: _paired(arm.rows, other.rows, name) for name in FIGURES}
    return {name: each for name, each in found.items() if each}


def _by_seed(arms, outcomes):
    seeds = sorted(set().union(*(arm.rows for arm in arms)))
    columns = tuple(
        Column(f"{pretty(outcome)}, {pretty(arm.name)}") for outcome in outcomes for arm in arms
    )
    rows = tuple(
        Row(
            f"seed {seed}",
            tuple(
                Cell(arm.rows.get(seed, {}).get(outcome)) for outcome in outcomes for arm in arms
            ),
        )
        for seed in seeds
    )
    return Table("per-seed", "Seed by seed", "seed", columns, rows)


def _difference_table(outcomes, compared):
    columns = tuple(Column(f"− {pretty(arm.name)}", arm.number) for arm, _ in compared)
    rows = tuple(
        Row(
            pretty(outcome),
            tuple(
                Cell(each.mean, interval=(each.low, each.high))
                if (each := found.get(outcome))
                else Cell()
                for _, found in compared
            ),
        )
        for outcome in outcomes
    )
    title = f"{TREATMENT} against other arms, points"
    return Table("differences", title, "outcome", columns, rows, signed=True)


def _curve_table(arms):
    columns, lines = [], {}
    for arm in arms:
        curves = [row["curve"] for row in arm.rows.values() if row.get("curve")]
        for field, title in CURVES.items():
            steps, _, means, _ = plots.across_seeds([c for c in curves if c.get(field)], field)
            columns.append(Column(f"{title}, {pretty(arm.name)}"))
            for step, mean in zip(steps, means, strict=True):
                lines.setdefault(step, {})[len(columns) - 1] = mean
    rows = tuple(
        Row(f"{step:g}", tuple(Cell(line.get(n)) for n in range(len(columns))))
        for step, line in sorted(lines.items())
    )
    return Table("over-training", "Over training", "step", tuple(columns), rows, digits=3)
