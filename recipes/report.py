"""fastneg report."""

from __future__ import annotations

import sys

from fastneg.report.page import files_folder, write_report
from fastneg.report.study import write_study_report
from fastneg.study.folder import is_study


def run_report(config):
    """Write the page, and its plots and tables where asked, and say where they are and what the
    runs lack."""
    if len(config.runs) == 1 and is_study(config.runs[0]):
        path = write_study_report(config.runs[0], config.out)
        print(f"Report: {path}\nPlots and tables: {files_folder(path)}/")
        return 0
    path = write_report(config, tell=lambda line: print(f"fastneg report: {line}", file=sys.stderr))
    print(f"Report: {path}")
    if config.files == "on":
        print(f"Plots and tables: {files_folder(config.out)}/")
    return 0
