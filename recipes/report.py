"""fastneg report."""

from __future__ import annotations

import sys

from fastneg.report.page import files_folder, write_report


def run_report(config):
    """Write the page, and its plots and tables where asked, and say where they are and what the
    runs lack."""
    path = write_report(config, tell=lambda line: print(f"fastneg report: {line}", file=sys.stderr))
    print(f"Report: {path}")
    if config.files == "on":
        print(f"Plots and tables: {files_folder(config.out)}/")
    return 0
