"""fastneg report."""

from __future__ import annotations

import sys

from fastneg.report.page import files_folder, report_output, write_report
from fastneg.report.study import study_output, write_study_report
from fastneg.study.folder import is_study


def run_report(config):
    """Write the page, and its plots and tables where asked, and say where they are and what the
    runs lack."""
    tell = lambda line: print(f"fastneg report: {line}", file=sys.stderr)
    if _of_study(config):
        path = write_study_report(config.runs[0], config.out, tell)
    else:
        path = write_report(config, tell)
    print(f"Report: {path}")
    if with_files(config):
        print(f"Plots and tables: {files_folder(path)}/")
    return 0


def output(config):
    """Where the page goes; an OutputError where it would be an input, or is no name of a page."""
    return study_output(config.runs[0], config.out) if _of_study(config) else report_output(config)


def with_files(config):
    """Whether plots and tables are written beside the page: of a study always."""
    return config.files == "on" or _of_study(config)


def _of_study(config):
    return len(config.runs) == 1 and is_study(config.runs[0])
