"""Run folder -> report.md and report.html, runs side by side, and the arms for a terminal."""

from mwalimu.report.terminal import render_table
from mwalimu.report.write import write_report

__all__ = ["render_table", "write_report"]
