"""Rates of margins: what is judged right or wrong on both sides of a pair."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from misfired.stats._arrays import Floats, no_nan, resample
from misfired.stats.margins import Margins, Row, why_none
from misfired.stats.measures import outcome_codes
from misfired.stats.options import SamplingOptions
from misfired.stats.outcomes import CONDITIONS
from misfired.stats.support import support_of

#: Folds of scenarios; the threshold of a fold is estimated on the others.
_N_FOLDS = 5


#: The measures that are rates of the four outcomes of something judged right or wrong on both sides.
RATES = {
    "lower_share": ("lower", "mar_joint"),
    "choice_accuracy_s": ("choice", "accuracy_stereotyped"),
    "choice_accuracy_k": ("choice", "accuracy_contrast"),
    "mar_choice": ("choice", "mar"),
    "br_choice": ("choice", "br"),
    "mar_calibrated": ("calibrated", "mar"),
    "mar_calibrated_apart": ("calibrated_apart", "mar"),
}


def thresholds(margins: Margins) -> tuple[Floats, Floats]:
    """Return t_s and t_k of each pair, from the scenarios of the other folds.

    Scenario i is in fold i modulo five. NaN where no other fold has both answers.
    """
    found = np.full((2, len(margins.scenario)), np.nan)
    folds = margins.scenario % _N_FOLDS
    for fold in range(_N_FOLDS):
        others, own = folds != fold, folds == fold
        for line, side in enumerate(CONDITIONS):
            cells = [margins.side(side, answer)[others] for answer in ("yes", "no")]
            if all(np.isfinite(cell).any() for cell in cells):
                found[line, own] = np.mean([np.nanmean(cell) for cell in cells])
    return found[0], found[1]


def judge(
    series: Sequence[Margins],
    weights: Floats,
    kind: str,
    measures: Sequence[str],
    sampling: SamplingOptions,
    *,
    by_category: bool,
) -> dict[tuple[int, int, str], Row]:
    """Return the rates of one kind of judgement, by slice, question and measure."""
    names = [name for name in measures if name in RATES and RATES[name][0] == kind]
    sides = np.array([_right(kind, each) for each in series])  # [series, side, pair], ties half
    # A tie is resolved both ways, in copies of the pair, so that it counts half.
    n_copies = 4 if (sides == 0.5).any() else 1
    tied = [
        [np.where(sides[:, s] == 0.5, copy >> s & 1, sides[:, s]) for s in (0, 1)]
        for copy in range(n_copies)
    ]
    codes = np.concatenate([outcome_codes(*both) for both in tied], axis=1)
    own = series[0].by_pair() if sampling.unit == "pair" else series[0]
    groups = (np.tile(own.scenario, n_copies), np.tile(own.category, n_copies))
    plain = replace(sampling, unit="scenario")
    terms = [RATES[name][1] for name in names]
    found = resample(codes, groups, weights, terms, plain, by_category=by_category)
    rows = {}
    for i, j in np.ndindex(found.sizes.shape[:2]):
        used = np.flatnonzero(weights[j]).tolist()
        members = own.category == i - 1 if i else np.ones(len(own.scenario), bool)
        scored = members & np.isfinite(sides[used]).all(axis=(0, 1))
        n_scored = int(scored.sum())
        counts = (n_scored, len(np.unique(own.scenario[scored])), int(members.sum()) - n_scored)
        parts = [series[term].where(members) for term in used]
        for k, name in enumerate(names):
            value, low, high, method, reason = found.estimate(i, j, k)
            error = no_nan(float(found.estimates[i, j, k, 3]))
            if not n_scored:
                reason = why_none(name, parts, by_story=kind == "choice")
            base = None
            if len(used) == 1:
                here = np.tile(members, n_copies)
                line = codes[used[0]][here]
                base = support_of(line, groups[0][here], RATES[name][1]).shared_by(n_copies)
            rows[i, j, name] = Row(value, low, high, error, method, *counts, reason, base)
    return rows


def _right(kind: str, margins: Margins) -> tuple[Floats, Floats]:
    """Return whether each pair is right on the stereotyped and on the contrast side: 1, 0, or a half."""
    s, k = margins.side("stereotyped"), margins.side("contrast")
    if kind == "lower":
        lower = _exceeds(k, s)
        return 1 - lower, np.where(np.isnan(lower), np.nan, 1.0)
    if kind == "choice":
        if margins.one_sided:
            return np.full_like(s, np.nan), np.full_like(k, np.nan)
        # The false question about a story is the twin's of the other condition.
        false_s, false_k = margins.side("contrast", "no"), margins.side("stereotyped", "no")
        return _exceeds(s, false_s), _exceeds(k, false_k)
    t_s, t_k = thresholds(margins)
    right = []
    for values, t in ((s, t_s if kind == "calibrated_apart" else t_k), (k, t_k)):
        right.append(
            np.where(np.isnan(values) | np.isnan(t), np.nan, (values > t).astype(np.float64))
        )
    return right[0], right[1]


def _exceeds(one: Floats, other: Floats) -> Floats:
    return np.where(np.isnan(one - other), np.nan, (one > other) + 0.5 * (one == other))
