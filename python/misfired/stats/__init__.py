"""Intervals, tests and planning for paired outcomes, from a run or from plain arrays.

An argument outside its limits raises `ArgumentError`. Outcomes that differ in length, lack a column
or hold a value that is no outcome raise `DataError`.
Names are loaded when they are first used, so that options can be read without polars.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
