"""Intervals, tests and planning for paired outcomes, from a run or from plain arrays."""

from misfired.stats.identity import check_published
from misfired.stats.summary import summarize

__all__ = ["check_published", "summarize"]
