"""fastneg report."""

from __future__ import annotations

from fastneg.report.page import files_folder, write_report


def run_report(config):
    """Write the page, and its plots and tables where asked, and say where they are."""
    print(f"Report: {write_report(config)}")
    if config.files == "on":
        print(f"Plots and tables: {files_folder(config.out)}/")
    return 0
