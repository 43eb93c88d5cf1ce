"""fastneg report."""

from __future__ import annotations

from fastneg.evaluation.report import write_report


def run_report(config):
    """Write the page and say where it is."""
    print(f"Report: {write_report(config)}")
    return 0
