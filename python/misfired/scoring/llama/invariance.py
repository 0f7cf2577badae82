"""Does a prompt's score depend on its neighbours? Measured in every run, never assumed.

On the CPU llama.cpp rounds activations that meet f16 or quantised weights, and looks GELU up in a table:
1e-7 in the order of a sum can become 1e-4 in an answer. `exact` then gives each prompt batches of its own
(`solo`), the very bits of a prompt alone without flash attention, or else keeps nothing (`fresh`). On a
GPU the kernels depend on the shape of a batch, so there nothing but `fresh` is exact.

Checks are paid for in tokens: what a trial decodes alone is kept as the answers of those prompts, and
what is decoded twice is about a tenth of what the run needs.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import polars as pl

from misfired.errors import ScoringError
from misfired.scoring.answers import decision_column
from misfired.scoring.backend import Row
from misfired.scoring.llama.engine import Job, Packing, alone, answer_all, engine_for
from misfired.scoring.llama.model import Context, Model
from misfired.scoring.options import DecodingOptions, KvCache
from misfired.scoring.protocol import Protocol

#: Prompts tried before a run begins, at most; `N_FEW` where a text is written for each, or where luck
#: cannot hide anything.
N_TRIED, N_FEW = 24, 6
#: Prompts of which one can share with another.
N_PAIR = 2
#: The largest difference that `exact` accepts.
TOLERANCE = 1e-5
#: Prompts scored again when a run is done, at most: none off in 59 says, at 95 %, that under 5 % are.
N_CHECKED = 59
#: Prompts checked at least where they share batches.
N_NOISE = 4
#: Share of a run's tokens that a trial and the check after the run may decode.
TRIAL_SHARE, CHECK_SHARE = 0.04, 0.04
#: A sample sees about half of the largest difference of a run (design/scoring.md).
NOISE_FACTOR = 2.0
CONFIDENCE = 0.95
#: Columns that are compared, beside `logp_...`.
_COMPARED = {"logit_diff", "margin", "top_logp", "least_gap"}


@dataclass(frozen=True)
class Costs:
    """Tokens of a run: `n_prompts` prompts of `alone` tokens each, of which all share `header`."""

    n_prompts: int
    alone: float
    header: int

    @classmethod
    def of(cls, job: Job, n_prompts: int) -> "Costs":
        """Estimate them from some of the run's prompts; what a text adds counts too."""
        ids = [prompt.ids for prompt in job.prompts.values()]
        shortest = min(map(len, ids), default=0)
        same = np.ones(shortest, bool)
        for each in ids:
            same &= each[:shortest] == ids[0][:shortest]
        header = shortest if same.all() else int(same.argmin())
        mean = sum(map(len, ids)) / max(1, len(ids))
        return cls(n_prompts, mean + job.protocol.n_generate, header)

    @property
    def own(self) -> float:
        """Tokens of a prompt beyond the shared ones."""
        return self.alone - self.header

    def affordable(self, share: float, each: float, once: float = 0.0) -> int:
        """Return how many prompts of `each` tokens a share of the run pays for."""
        budget = share * (self.n_prompts * self.own + self.header) - once
        return max(0, int(budget / max(each, 1.0)))


@dataclass(frozen=True)
class Trial:
    """What was decided before a run, and by what.

    Attributes:
        facts: `packing`, `n_tried`, `differences`, `n_tokens`: the tokens it decoded twice.
        kept: Rows of the prompts that it decoded alone, where the packing gives the same bits: their
            answers.
        noise: How far neighbours were seen to move the least lead of a text's tokens.
    """

    facts: dict[str, Any]
    kept: dict[int, Row] = field(default_factory=dict)
    noise: float = 0.0

    @property
    def packing(self) -> Packing:
        """How prompts are packed."""
        chosen: Packing = self.facts["packing"]
        return chosen


def choose_packing(
    context: Context, job: Job, options: DecodingOptions, n_prompts: int | None = None
) -> Trial:
    """Try whether what prompts share changes their scores; the job holds some of a run's `n_prompts`.

    `fast` and `stable` pack without asking. Models whose state cannot be rolled back never share, and
    `exact` on a GPU does not either, whatever a trial would say.
    """
    n_prompts = len(job.prompts) if n_prompts is None else n_prompts
    if not context.model.can_share_prefixes:
        return _untried("fresh")
    if options.mode != "exact":
        return _untried("packed" if options.mode == "fast" else "stable")
    costs = Costs.of(job, n_prompts)
    candidates = _candidates(context.model, job, options.kv_cache)
    if not (candidates and job.prompts):
        return _untried("fresh")
    affordable = costs.affordable(TRIAL_SHARE, costs.alone, costs.header)
    n = min(N_TRIED, affordable)
    if job.protocol.generates or "packed" in candidates:
        n = N_FEW if job.protocol.generates else max(N_FEW, n)
    elif n < N_PAIR:
        # A prompt that is tried by itself shares nothing; the check after the run finds what differs.
        return _untried("solo")
    tried = _spread(job, n)
    kept = dict(zip(tried.prompts, alone(context, tried), strict=True))
    differences: dict[str, float] = {}
    packing, noise = "fresh", 0.0
    for candidate in candidates:
        measured = answer_all(engine_for(context, tried, packing=candidate))
        differences[candidate] = max(_difference(measured[row], kept[row]) for row in kept)
        if job.protocol.generates:
            noise = max(_gap_moved(measured[row], kept[row]) for row in kept)
        # Texts need not be written one at a time: the engine repeats those with a close choice.
        if differences[candidate] <= TOLERANCE or job.protocol.generates:
            packing = candidate
            break
    n_tokens = int(len(kept) * costs.alone * len(differences))
    facts = _facts(packing, len(kept), differences, n_tokens)
    # An answer must not depend on whether its prompt was tried, to the bit.
    same_bits = packing == "solo" and differences["solo"] == 0.0
    return Trial(facts, kept if same_bits else {}, noise)


def _untried(packing: Packing) -> Trial:
    return Trial(_facts(packing, 0, {}, 0))


def _facts(packing: str, n_tried: int, differences: dict[str, float], n: int) -> dict[str, Any]:
    return {"packing": packing, "n_tried": n_tried, "differences": differences, "n_tokens": n}


def _candidates(model: Model, job: Job, cache: KvCache) -> tuple[Packing, ...]:
    """Return packings that may give the score of a prompt alone, the fastest first."""
    if job.protocol.generates:
        return ("packed",)
    # A GPU's kernels depend on the shape of the batch, and a trial passes by luck (docs/gpu.md).
    if model.uses_gpu:
        return ()
    # A cache of fewer bits rounds what differs by 1e-7, and flash attention divides its sums by the shape
    # of the batch: a few prompts may show no difference, and many do.
    if cache.flash_attention != "off":
        return ()
    # Weights of fewer bits round too. The choice must not depend on how many prompts a run has, since a run
    # that is extended equals a whole one.
    types = set(model.header.types)
    can_pack = {cache.type_k, cache.type_v} == {"f32"} and types == {"f32"}
    return ("packed", "solo") if can_pack else ("solo",)


def measure_effect(unchanged: Context, changed: Context, job: Job) -> dict[str, Any]:
    """Score some prompts, each alone, on a context without and on one with an intervention.

    Returns:
        `n_tried` prompts, spread evenly over the job; `n_changed`, those for which anything differs;
        `max_change`, the largest |difference| of the log-probabilities and of `logit_diff` (`margin`),
        null for texts.
    """
    tried = _spread(job, N_FEW)
    before, after = alone(unchanged, tried), alone(changed, tried)
    largest = max(map(_difference, before, after), default=0.0)
    return {
        "n_tried": len(before),
        "n_changed": sum(map(operator.ne, before, after)),
        "max_change": None if job.protocol.generates else largest,
    }


#: Scores rows again as they are scored alone: (rows, packing) to measurements in their order. Packing
#: `solo` keeps the prefix that all share, `fresh` nothing.
Rescore = Callable[[list[int], Literal["solo", "fresh"]], list[Row]]


def check_run(
    answers: pl.DataFrame,
    protocol: Protocol,
    rescore: Rescore,
    trial: Trial,
    costs: Costs,
    *,
    exact: bool,
    seed: int,
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Score a random sample again, alone; in `exact` no answer remains that differs by more than the bound.

    Where the sample of an `exact` run holds one that does, every answer is scored again, alone, and a
    new sample is drawn.

    Returns:
        The answers, and what was found (`misfired.runs.manifest.BatchInvariance`).

    Raises:
        ScoringError: Prompts scored alone twice differ by more than the bound.
    """
    packing, n_rescored = trial.packing, 0
    found, n_off = _check(answers, protocol, rescore, packing, costs, exact=exact, seed=seed)
    if exact and n_off and packing != "fresh":
        rows = _scored(answers, protocol)
        answers, n_rescored, packing = _replaced(answers, rows, rescore), len(rows), "fresh"
        found, n_off = _check(
            answers, protocol, rescore, packing, costs, exact=exact, seed=seed + 1
        )
    if exact and n_off:
        raise ScoringError(
            f"a prompt alone must score the same each time in mode exact, within {TOLERANCE:.0e}; "
            f"{n_off} of {found['n_checked']} differ, by up to {found['max_difference']:.1e}"
        )
    return answers, found | {"n_rescored": n_rescored}


def _check(
    answers: pl.DataFrame,
    protocol: Protocol,
    rescore: Rescore,
    packing: Packing,
    costs: Costs,
    *,
    exact: bool,
    seed: int,
) -> tuple[dict[str, Any], int]:
    """Return what a sample shows, and how many of it are off."""
    generates, solo = protocol.generates, packing == "solo"
    each, once = (costs.own, costs.header) if solo else (costs.alone, 0)
    least = 1 if packing in {"solo", "fresh"} and not generates else N_NOISE
    n = max(least, min(N_CHECKED, costs.affordable(CHECK_SHARE, each, once)))
    scored = _scored(answers, protocol)
    rng = np.random.default_rng(seed)
    sample = [scored[place] for place in sorted(rng.permutation(len(scored))[:n].tolist())]
    singles = rescore(sample, "solo" if solo else "fresh") if sample else []
    both = list(zip(singles, answers[sample].to_dicts(), strict=True))
    differences = [_difference(single, row) for single, row in both]
    differ = sum(single.get("text") != row.get("text") for single, row in both)
    n_off = differ if generates else sum(value > TOLERANCE for value in differences)
    name = _decision(protocol)
    moved = [abs(a[name] - b[name]) for a, b in both if None not in {a[name], b[name]}]
    noise = max(moved, default=0.0) * (1.0 if exact else NOISE_FACTOR)
    found = {
        **({"texts_differ": differ} if generates else {}),
        "n_checked": len(sample),
        "n_tokens": int(len(sample) * each + (once if sample else 0)),
        "max_difference": max(differences, default=0.0),
        "label_flips": sum(single["answer"] != row["answer"] for single, row in both),
        "noise": noise,
        "n_within": int((answers[name].abs() <= noise).sum()),
        "bound": TOLERANCE if exact else None,
        "share_off": share_bound(len(scored), len(sample)) if exact else None,
    }
    return found, n_off


def share_bound(n: int, n_checked: int) -> float:
    """Return how large a share of `n` may be off, at 95 %, where none of `n_checked` drawn from them is.

    The largest share K / n for which a sample without replacement holds none with a probability above
    5 % (hypergeometric).

    Example:
        >>> round(share_bound(100_000, 59), 2), share_bound(20, 20), share_bound(20, 0)
        (0.05, 0.0, 1.0)
    """
    if n == 0:
        return 0.0
    none_seen, k = 1.0, 0
    while k < n - n_checked:
        # P(none of the sample | k + 1 off) / P(none | k off)
        none_seen *= (n - n_checked - k) / (n - k)
        if none_seen <= 1 - CONFIDENCE:
            break
        k += 1
    return k / n


def _scored(answers: pl.DataFrame, protocol: Protocol) -> list[int]:
    rows: list[int] = answers[_decision(protocol)].is_not_null().arg_true().to_list()
    return rows


def _decision(protocol: Protocol) -> str:
    return "least_gap" if protocol.generates else decision_column(list(protocol.answers))


def _replaced(answers: pl.DataFrame, rows: list[int], rescore: Rescore) -> pl.DataFrame:
    """Return the answers with some rows scored again, alone."""
    new = dict(zip(rows, rescore(rows, "fresh"), strict=True))
    names = list(next(iter(new.values()), {}))
    old = answers.select(names).rows(named=True)
    columns = [new.get(row, measured) for row, measured in enumerate(old)]
    schema = {name: answers.schema[name] for name in names}
    return answers.with_columns(pl.DataFrame(columns, schema=schema).get_columns())


def _spread(job: Job, n: int) -> Job:
    """Return the job with `n` of its prompts, spread evenly."""
    rows = list(job.prompts)
    return job.only(sorted({rows[place * len(rows) // n] for place in range(n)} if rows else ()))


def _gap_moved(left: Row, right: Row) -> float:
    gaps = left["least_gap"], right["least_gap"]
    if None in gaps:
        return 0.0
    return float(min(gaps) if left["text"] != right["text"] else abs(gaps[0] - gaps[1]))


def _difference(left: Row, right: Row) -> float:
    if left.get("text") != right.get("text"):
        # Two texts part where a choice was close; what follows says nothing about rounding.
        return float(min(left["least_gap"], right["least_gap"]))
    names = [name for name in left if name.startswith("logp_") or name in _COMPARED]
    pairs = [(left[name], right[name]) for name in names]
    if any(value is None for pair in pairs for value in pair):
        return 0.0
    # The disjoint part of a form may be nothing, whose logarithm is minus infinity on both sides.
    return max(0.0 if a == b else abs(a - b) for a, b in pairs)
