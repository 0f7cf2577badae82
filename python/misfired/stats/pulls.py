"""Means and areas under the curve of margins, with the pull of each scenario on them."""

from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from misfired._core import proportion_interval, t_quantile
from misfired.stats._arrays import Floats, Numbers
from misfired.stats.margins import Margins
from misfired.stats.outcomes import CONDITIONS

_ROUNDING = 1e-12


class Pull(NamedTuple):
    """A measure, and the influence of each scenario on it.

    Attributes:
        value: The measure, NaN if it has none.
        pulls: Its change by each scenario, to first order, [n_scenarios]: sums of measures have the sum
            of the pulls. The standard error is sqrt(G / (G - 1) sum of squares).
        active: True for each of the G scenarios that hold anything for the measure.
        n: Pairs that hold anything for the measure.
        scale: Size of the numbers that it is made of; rounding is relative to it.
    """

    value: float
    pulls: Floats
    active: npt.NDArray[np.bool_]
    n: int
    scale: float = 1.0

    @property
    def standard_error(self) -> float:
        """NaN with fewer than two scenarios; 0 where nothing but rounding varies."""
        n = int(self.active.sum())
        if n < 2:
            return float("nan")
        error = float(np.sqrt(n / (n - 1) * (self.pulls**2).sum()))
        return error if error > _ROUNDING * self.scale else 0.0


def shift_of(margins: Margins) -> Pull:
    """Return the mean over pairs of the contrast margin minus the stereotyped."""
    shift = margins.side("contrast") - margins.side("stereotyped")
    return mean_of(shift, margins.scenario, margins.n_scenarios, scale=margins.largest)


def loss_of(margins: Margins) -> Pull:
    """Return the mean of (contrast yes - no) - (stereotyped yes - no)."""
    found = {side: margins.side(side) - margins.side(side, "no") for side in CONDITIONS}
    lost = found["contrast"] - found["stereotyped"]
    return mean_of(lost, margins.scenario, margins.n_scenarios, scale=margins.largest)


def standardised(pull: Pull, margins: Margins) -> Pull:
    """Return a measure in standard deviations of the contrast margin within an expected answer."""
    n_scenarios = len(pull.pulls)
    squares, n, n_groups = np.zeros(n_scenarios), 0, 0
    sizes = np.zeros(n_scenarios)
    for cell in (margins.side("contrast"), margins.side("contrast", "no")):
        ok = np.isfinite(cell)
        if ok.any():
            centred = (cell[ok] - cell[ok].mean()) ** 2
            squares += np.bincount(margins.scenario[ok], centred, n_scenarios)
            sizes += np.bincount(margins.scenario[ok], minlength=n_scenarios)
            n, n_groups = n + int(ok.sum()), n_groups + 1
    variance = squares.sum() / (n - n_groups) if n > n_groups else 0.0
    deviation = np.sqrt(variance)
    if deviation <= _ROUNDING * margins.largest:
        return pull._replace(value=float("nan"))
    value = pull.value / deviation
    slope = (squares - sizes * squares.sum() / n) / n
    pulls = pull.pulls / deviation - value / (2 * variance) * slope
    return pull._replace(value=float(value), pulls=pulls, scale=pull.scale / deviation)


def auc(yes: Floats, no: Floats, scenario: Numbers, n_scenarios: int) -> Pull:
    """Return P(a margin that belongs to yes exceeds one that belongs to no), ties half.

    The pulls are the sums of placements of Obuchowski 1997, "Nonparametric analysis of clustered ROC
    curve data", equation 5, with one factor G / (G - 1) for its three.
    """
    nothing = np.zeros(n_scenarios)
    of_yes, of_no = np.isfinite(yes), np.isfinite(no)
    n_yes, n_no = int(of_yes.sum()), int(of_no.sum())
    active = np.zeros(n_scenarios, bool)
    active[scenario[of_yes | of_no]] = True
    if not n_yes or not n_no:
        return Pull(float("nan"), nothing, active, 0)
    above = _placements(yes[of_yes], np.sort(no[of_no]))
    below = 1 - _placements(no[of_no], np.sort(yes[of_yes]))
    value = float(above.mean())
    pulls = np.bincount(scenario[of_yes], above - value, n_scenarios) / n_yes
    pulls += np.bincount(scenario[of_no], below - value, n_scenarios) / n_no
    return Pull(value, pulls, active, int((of_yes | of_no).sum()))


def auc_of(margins: Margins, side: str) -> Pull:
    """Return the AUC within the condition `side`."""
    yes, no = margins.side(side), margins.side(side, "no")
    return auc(yes, no, margins.scenario, margins.n_scenarios)


def combined(pulls: Sequence[Pull], weights: Sequence[float] | Floats) -> Pull:
    """Return a weighted sum of measures on the same scenarios."""
    value = sum(w * each.value for w, each in zip(weights, pulls, strict=True) if w)
    sums = sum(w * each.pulls for w, each in zip(weights, pulls, strict=True))
    active = np.logical_or.reduce([each.active for each in pulls])
    used = [(each.n, abs(w) * each.scale) for w, each in zip(weights, pulls, strict=True) if w]
    n, scales = zip(*used, strict=True)
    return Pull(float(value), np.asarray(sums), active, min(n), sum(scales))


def shrunk(pull: Pull, n: int, level: float) -> float:
    """Return the size of the sample on which Clopper and Pearson's interval of a share stands.

    At most n, and what the scenarios' pulls allow; where nothing varies, each scenario counts once. It is
    shrunk for few scenarios as Korn and Graubard (1998) do.
    """
    n_units, variance = int(pull.active.sum()), pull.standard_error**2
    if n_units < 2:
        return 1.0
    size = min(pull.value * (1 - pull.value) / variance, n) if variance > 0 else n_units
    upper = (1 + level) / 2
    return float(size * (NormalDist().inv_cdf(upper) / t_quantile(upper, n_units - 1)) ** 2)


def interval_of(
    pull: Pull, *, level: float, is_share: bool = False
) -> tuple[float, float, str, str | None]:
    """Return low, high, method and reason of a measure from the pulls of its scenarios.

    A share (0 to 1) has a t interval on the logit scale; where nothing varies, that of Clopper and
    Pearson with each scenario counted once.
    """
    n, error = int(pull.active.sum()), pull.standard_error
    method = "logit" if is_share else "t"
    if n < 2:
        return np.nan, np.nan, method, "one_unit"
    upper = (1 + level) / 2
    t = t_quantile(upper, n - 1)
    value = pull.value
    if not is_share:
        if not error > 0:
            return np.nan, np.nan, method, "constant"
        return float(value - t * error), float(value + t * error), method, None
    if error > 0 and 0 < value < 1:
        centre, step = np.log(value / (1 - value)), t * error / (value * (1 - value))
        low, high = (1 / (1 + np.exp(step * sign - centre)) for sign in (1, -1))
        return float(low), float(high), method, None
    size = shrunk(pull, n, level)
    low, high = proportion_interval(
        value * size, size, method="clopper_pearson", confidence_level=level
    )
    return low / 100, high / 100, "clopper_pearson", None


def mean_of(values: Floats, scenario: Numbers, n_scenarios: int, *, scale: float = 1.0) -> Pull:
    """Return a mean over pairs; its pulls are those of the jackknife that leaves out a scenario."""
    ok = np.isfinite(values)
    n = int(ok.sum())
    active = np.zeros(n_scenarios, bool)
    active[scenario[ok]] = True
    if not n:
        return Pull(float("nan"), np.zeros(n_scenarios), active, 0)
    value = float(values[ok].mean())
    pulls = np.bincount(scenario[ok], values[ok] - value, n_scenarios) / n
    n_active = int(active.sum())
    if n_active > 1:
        shares = np.bincount(scenario[ok], minlength=n_scenarios) / n
        without = pulls / (1 - shares)
        centred = np.where(active, without - without[active].mean(), 0.0)
        pulls = centred * (n_active - 1) / n_active
    return Pull(value, pulls, active, n, scale)


def _placements(values: Floats, others: Floats) -> Floats:
    """Return the share of sorted others below each value, ties half."""
    low, high = (np.searchsorted(others, values, side) for side in ("left", "right"))
    return (low + high) / (2 * len(others))
