"""Every chart, drawn once: for the report, for a paper, and for `localise`."""

from misfired.report.figures.chart import FORMATS, WIDTHS, Chart, style
from misfired.report.figures.localise import COLOURS, localisation_charts, write_figures

__all__ = [
    "COLOURS", "FORMATS", "WIDTHS", "Chart", "localisation_charts", "style", "write_figures",
]  # fmt: skip
