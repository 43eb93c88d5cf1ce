"""The options of `fastneg bench first_hour`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fastneg.config import Config, ConfigError
from fastneg.options import nearest, option
from fastneg.recipes.bench.first_hour.rows import ROWS
from fastneg.recipes.bench.first_hour.stages import STAGES

NAME = "first_hour"


def _only_here(default, **bounds):
    return option(None, by=("name", {NAME: default}), **bounds)


@dataclass(frozen=True)
class FirstHourOptions(Config):
    """What is measured in a machine's first hour, and where it is written."""

    out: str | None = _only_here(None)
    """The folder for rows.jsonl, rows.csv, the logs and the page. Required with first_hour."""
    stages: str | None = _only_here(None, listed="names")
    """Stages to measure, as a comma list; default: all, the most useful first."""
    budget: float | None = _only_here(None, above=0.0)
    """Time limit in seconds. A call with --resume measures what did not fit."""
    resume: bool | None = _only_here(False)
    """Continue in a folder with rows; finished jobs are not measured again."""
    page: bool | None = _only_here(False)
    """Only make the page and rows.csv from the existing rows."""

    def __post_init__(self):
        super().__post_init__()
        if getattr(self, "name", None) == NAME:
            check(self.out, self.stages, self.budget, self.resume, self.page)


def check(out, stages, budget, resume, page):
    """ConfigError for a folder that does not fit, or a stage that there is not."""
    if not out:
        raise ConfigError("--out is missing: the folder that the rows and the page go to.")
    if budget is not None and not budget > 0:
        raise ConfigError(f"--budget is {budget}: more than 0 seconds were expected.")
    chosen(stages)
    there = (Path(out) / ROWS).exists()
    if page and not there:
        raise ConfigError(f"--page: {out} holds no {ROWS} to make a page of.")
    if page and (resume or stages or budget is not None):
        raise ConfigError("--page measures nothing: leave out --resume, --stages and --budget.")
    if there and not (resume or page):
        raise ConfigError(
            f"--out is {out}, which holds rows already: add --resume to go on from them, or take "
            "another folder."
        )


def chosen(stages):
    """The names in --stages, in order of worth; all for None."""
    if not stages:
        return list(STAGES)
    named = [name.strip() for name in stages.split(",") if name.strip()]
    if not named or (unknown := [name for name in named if name not in STAGES]):
        raise ConfigError(
            f"--stages is {stages!r}: names among {', '.join(STAGES)} were expected"
            + (f", not {', '.join(unknown)}{nearest(unknown[0], STAGES)}" if named else ".")
        )
    return [name for name in STAGES if name in named]
