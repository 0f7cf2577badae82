"""Intervals for plain proportions of independent trials."""

from misfired import _core
from misfired.errors import ArgumentError

__all__ = ["proportion_interval"]


def proportion_interval(
    hits: int, n: int, *, method: str = "wilson", confidence_level: float = 0.95
) -> tuple[float, float]:
    """The interval of a proportion, in percent.

    Args:
        hits: How many trials hit.
        n: Trials, at least 1; independent of one another.
        method: `"wilson"` (score, Wilson 1927) or `"clopper_pearson"` (exact).
        confidence_level: Between 0 and 1.

    Raises:
        ArgumentError: If a number is outside its limits or the method unknown.

    Example:
        >>> low, high = proportion_interval(0, 100)
        >>> round(low, 2), round(high, 2)
        (0.0, 3.7)
    """
    if not 0 <= hits <= n or n < 1:
        raise ArgumentError(f"hits: {hits} of {n}, expected 0 to n, and n at least 1")
    if not 0 < confidence_level < 1:
        raise ArgumentError(f"confidence_level: {confidence_level}, expected above 0 and below 1")
    if method not in {"wilson", "clopper_pearson"}:
        raise ArgumentError(f"method: {method!r}, expected wilson or clopper_pearson")
    return _core.proportion_interval(float(hits), float(n), method, confidence_level)
