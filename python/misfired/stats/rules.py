"""Rules of a gate, such as "mar > +2": which change of which measure counts as harm."""

import re
from dataclasses import dataclass, field

from misfired.errors import ArgumentError, check_one_of
from misfired.stats.support import SUPPORTED
from misfired.types import check_type

_FORM = re.compile(
    r"\s*(?P<measure>\w+)\s*(?:\[(?P<category>.+)\])?\s*(?P<side>[<>])\s*(?P<line>[+-]\d+(?:\.\d+)?)\s*"
)
_LARGEST = 100.0  # No rate changes by more points.


@dataclass(frozen=True, slots=True)
class Rule:
    """A harm: a change of a measure beyond a line.

    Attributes:
        text: The rule as it was given; rules that differ in it alone are equal.
        measure: A rate.
        category: The category that it is about; None for what the gate is asked for.
        rises: True if the harm is a rise (">"), False if it is a fall.
        line: Percentage points, candidate - base.
    """

    text: str = field(compare=False)
    measure: str
    category: str | None
    rises: bool
    line: float

    @property
    def sign(self) -> int:
        """1 where the harm is a rise, -1 where it is a fall."""
        return 1 if self.rises else -1


def read_rule(text: str) -> Rule:
    """Return the rule that a text states: `MEASURE > +POINTS` or `MEASURE[CATEGORY] < -POINTS`.

    The number has a sign, since it is a change and no value.

    Raises:
        ArgumentError: The text has another form, or the measure is no rate.

    Example:
        >>> rule = read_rule("mar[Age] > +2.5")
        >>> rule.measure, rule.category, rule.rises, rule.line
        ('mar', 'Age', True, 2.5)
    """
    check_type("fail_if", text, str)
    found = _FORM.fullmatch(text)
    if found is None:
        form = 'a measure, > or <, and a change with its sign, such as "mar > +2"'
        raise ArgumentError(f"fail_if must be {form}, got {text!r}")
    check_one_of("measure of fail_if", found["measure"], SUPPORTED)
    line = float(found["line"])
    if abs(line) > _LARGEST:
        raise ArgumentError(
            f"fail_if must be a change of at most {_LARGEST:g} points, got {text!r}"
        )
    return Rule(text.strip(), found["measure"], found["category"], found["side"] == ">", line)
