"""Rates over people and scenarios, which are both drawn."""

from misfired.options import at_least
from misfired.stats.options import DEFAULTS, check_level


def zero_bound(n: int, *, confidence_level: float = DEFAULTS.confidence_level) -> float:
    """Return the upper end of the two-sided interval of a rate of which none was seen, in percent.

    100 (1 - (alpha / 2)^(1 / n)) for n independent units (Clopper and Pearson 1934).

    Args:
        n: Units, such as scenarios or people.
        confidence_level: Between 0 and 1.

    Example:
        >>> round(zero_bound(100), 2)
        3.62
    """
    at_least(1)("n", n)
    check_level("confidence_level", confidence_level)
    return float(100 * (1 - ((1 - confidence_level) / 2) ** (1 / n)))
