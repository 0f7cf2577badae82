"""Signal detection: can a model tell yes from no, and which way does it lean?"""

import numpy as np
import polars as pl

from misfired.errors import DataError
from misfired.metrics import UNSCORED
from misfired.stats._arrays import Sampling, as_groups, resample
from misfired.stats._seed import Rng, seed_of

__all__ = ["DETECTION_SCHEMA", "signal_detection"]

DETECTION_SCHEMA = pl.Schema(
    {
        "priming": pl.String,
        "condition": pl.String,
        "measure": pl.String,
        "value": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "method": pl.String,
        "n_prompts": pl.Int64,
        "n_unscored": pl.Int64,
        "hits": pl.Int64,
        "misses": pl.Int64,
        "false_alarms": pl.Int64,
        "correct_rejections": pl.Int64,
        "reason": pl.String,
    }
)
"""Columns of `signal_detection`; d' and criterion are in standard deviations."""


def signal_detection(
    answers: pl.DataFrame,
    *,
    unit: str = "scenario",
    method: str | None = None,
    n_resamples: int = 10_000,
    confidence_level: float = 0.95,
    rng: Rng = 0,
    n_threads: int | None = None,
) -> pl.DataFrame:
    """How well each condition tells yes from no (d'), and which way it leans (criterion).

    For suites that hold both expected answers.

    d' = z(hit rate) - z(false-alarm rate), criterion = -(z(hit rate) + z(false-alarm rate)) / 2;
    half a yes and half a no are added to each rate (the log-linear correction, Hautus 1995), so
    that rates of 0 and 1 stay finite. A yes to a prompt that expects yes is a hit.

    Args:
        answers: One row for each prompt: `id`, `scenario`, `condition`, `priming`, `expected`
            ("yes" or "no"), `answer` ("yes", "no", null if unscored).
        unit: `"scenario"` or `"pair"` (each id on its own).
        method: As for `bootstrap`; `"studentised"` by default.
        n_resamples: Number of resamples.
        confidence_level: Between 0 and 1.
        rng: Seed or generator.
        n_threads: Threads.

    Returns:
        A frame of schema `DETECTION_SCHEMA`: for each priming and condition `d_prime` and
        `criterion`, then for a priming with both conditions the difference stereotyped - contrast
        on the ids that both have.

    Raises:
        DataError: If a column is missing, or an (id, condition, priming) is there twice.
        ArgumentError: If an option is outside its limits.
    """
    wanted = ("id", "scenario", "condition", "priming", "expected", "answer")
    for column in wanted:
        if column not in answers.columns:
            raise DataError(f"answers: column {column!r} is missing")
    frame = answers.select(wanted).sort("priming", "condition", "id")
    if not len(frame):
        raise DataError("answers: no rows, expected at least 1")
    keys = ["priming", "condition", "id"]
    twice = frame.filter(pl.struct(keys).is_duplicated())
    if len(twice):
        raise DataError(f"answers: {twice.select(keys).row(0)!r}: more than one row")
    ids = frame.select("id", "scenario").unique().sort("id")
    if ids["id"].is_duplicated().any():
        name = ids.filter(pl.col("id").is_duplicated())["id"][0]
        raise DataError(f"answers: id {name!r}: more than one scenario")
    series = frame.select("priming", "condition").unique(maintain_order=True).rows()
    codes = np.full((len(series), len(ids)), UNSCORED, dtype=np.uint8)
    places = {name: i for i, name in enumerate(ids["id"].to_list())}
    lines = {key: i for i, key in enumerate(series)}
    for name, _, condition, priming, expected, answer in frame.rows():
        code = _code(expected, answer, name)
        codes[lines[priming, condition], places[name]] = code
    questions = _questions(series)
    weights = np.array([row for *_, row in questions], dtype=np.float64)
    options = Sampling(
        unit,
        False,
        method,
        confidence_level,
        n_resamples,
        seed_of(rng),
        n_threads,
    )
    groups = (as_groups(ids["scenario"], len(ids), "scenario"), np.zeros(len(ids), np.uint32))
    measures = ("d_prime", "criterion")
    found = resample(codes, groups, weights, measures, options, by_category=False)
    rows = []
    for j, (priming, condition, _) in enumerate(questions):
        _, n_scored, n_unscored = found.sizes[0, j].tolist()
        single = int(np.count_nonzero(weights[j])) == 1
        counts = found.counts[0, j, 0].astype(int).tolist() if single else [None] * 4
        for k, measure in enumerate(measures):
            *numbers, how, reason = found.estimate(0, j, k)
            tail = (how, n_scored, n_unscored, *counts, reason)
            rows.append((priming, condition, measure, *numbers, *tail))
    return pl.DataFrame(rows, schema=DETECTION_SCHEMA, orient="row")


def _code(expected: str | None, answer: str | None, name: str) -> int:
    if expected not in {"yes", "no"}:
        raise DataError(
            f"answers: id {name!r}, column 'expected': {expected!r}, expected yes or no"
        )
    if answer is None:
        return UNSCORED
    if answer not in {"yes", "no"}:
        raise DataError(
            f"answers: id {name!r}, column 'answer': {answer!r}, expected yes, no, null"
        )
    return (0 if expected == "yes" else 2) + (0 if answer == "yes" else 1)


def _questions(series: list[tuple[str, str]]) -> list[tuple[str, str, list[float]]]:
    eye = np.eye(len(series))
    questions = [(p, c, eye[i].tolist()) for i, (p, c) in enumerate(series)]
    for priming in dict.fromkeys(p for p, _ in series):
        sides = [(priming, "stereotyped"), (priming, "contrast")]
        if all(side in series for side in sides):
            first, second = (eye[series.index(side)] for side in sides)
            questions.append((priming, "stereotyped - contrast", (first - second).tolist()))
    return questions
