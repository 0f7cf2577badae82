"""The report of runs as one HTML file that needs no network."""

from misfired.report.html.page import report_html, write_report

__all__ = ["report_html", "write_report"]
