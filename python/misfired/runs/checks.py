"""Tables of answers and outcomes that were written before: types, ranges, keys, and one outcome a prompt."""

from collections.abc import Iterator

import polars as pl

from misfired.errors import DataError
from misfired.prompts.primings import CONDITIONS
from misfired.reading import shown
from misfired.scoring.answers import ANSWER_COLUMNS
from misfired.scoring.rows import ANSWERED, UNANSWERED, limits_of

#: Columns without which a table holds no answers, and no outcomes.
_OF_ANSWERS = (
    *("id", "category", "scenario", "priming", "condition"),
    *("expected", "answer", "outcome", "reason"),
)
_OF_OUTCOMES = ("id", "category", "scenario", "priming", *CONDITIONS)
#: Columns that may be null.
_NULLABLE = {"answer", "reason", *CONDITIONS}

_TYPES = {column.name: column.dtype for column in ANSWER_COLUMNS}
_TYPES |= dict.fromkeys(CONDITIONS, pl.Boolean)
_WORDS = {
    pl.String: "text",
    pl.Float64: "numbers",
    pl.Int64: "whole numbers",
    pl.Boolean: "true and false",
}


def check_table(frame: pl.DataFrame, source: object) -> pl.DataFrame:
    """Return answers, or outcomes, with the types that they have in a run folder.

    Raises:
        DataError: A column is missing or of another type; a value is outside its limits, or does not
            follow from the others; two rows are of one prompt. The message names source, row and column.

    Example:
        >>> row = {"id": "p", "category": "Age", "scenario": "s", "priming": "none", "reason": None}
        >>> row |= {"condition": "contrast", "expected": "yes", "answer": "yes", "outcome": "banana"}
        >>> check_table(pl.DataFrame([row]), "a.jsonl")
        Traceback (most recent call last):
        misfired.errors.DataError: a.jsonl: row 1: outcome must be one of correct, wrong, abstained, \
unparseable, error, got 'banana'
    """
    are_answers = "condition" in frame.columns
    needed = _OF_ANSWERS if are_answers else _OF_OUTCOMES
    for name in needed:
        if name not in frame.columns:
            what = "answers" if are_answers else "answers or outcomes"
            raise DataError(f"{source}: column {name!r} is missing, these are no {what}")
    if frame.is_empty():
        raise DataError(f"{source}: must have at least 1 row, got 0")
    frame = _typed(frame, source)
    problems = [*_of_any(needed), *(_of_answers(frame) if are_answers else ())]
    bad = frame.select(
        expression.any().alias(str(n)) for n, (*_, expression) in enumerate(problems)
    )
    for (name, rule, expression), found in zip(problems, bad.row(0), strict=True):
        if found:
            row = int(frame.select(expression.arg_max()).item())
            got = frame[name][row]
            raise DataError(f"{source}: row {row + 1}: {name} must be {rule}, got {shown(got)}")
    keys = ["id", "priming", *({"condition", "model", "protocol"} & set(frame.columns))]
    if (twice := frame.select(keys).is_duplicated()).any():
        key = ", ".join(map(str, frame.select(keys).row(int(twice.arg_max() or 0))))
        raise DataError(f"{source}: each prompt must have one row, got several of {key}")
    return frame


def _typed(frame: pl.DataFrame, source: object) -> pl.DataFrame:
    """Return a table with the known types; what reads JSON Lines and CSV finds others in empty columns."""
    casts = []
    for name, found in frame.schema.items():
        wanted = _TYPES.get("logp_{answer}" if name.startswith("logp_") else name, found)
        number = found.is_integer() or (found.is_float() and wanted == pl.Float64)
        if found not in {wanted, pl.Null} and not (number and wanted.is_numeric()):
            raise DataError(f"{source}: column {name!r} must hold {_WORDS[wanted]}, got {found}")
        if found != wanted:
            casts.append(pl.col(name).cast(wanted))
    return frame.with_columns(casts)


def _of_any(needed: tuple[str, ...]) -> Iterator[tuple[str, str, pl.Expr]]:
    """Yield column, rule, and what is true of the rows that break it; false, not null, of the others."""
    for name in needed:
        if name not in _NULLABLE:
            yield name, "a text", pl.col(name).is_null()
    for name in ("category", "scenario"):
        yield name, "the same in all rows of a pair", pl.col(name).n_unique().over("id") > 1


def _of_answers(frame: pl.DataFrame) -> Iterator[tuple[str, str, pl.Expr]]:
    """Yield what `_of_any` yields, of answers alone."""
    columns, answer, outcome = set(frame.columns), pl.col("answer"), pl.col("outcome")
    for name, allowed in (("condition", CONDITIONS), ("outcome", (*ANSWERED, *UNANSWERED))):
        yield name, f"one of {', '.join(allowed)}", ~pl.col(name).is_in(allowed)
    answered = outcome.is_in(ANSWERED)
    yield "answer", "a text where it is correct or wrong", answered & answer.is_null()
    rule = "null where it is neither correct nor wrong"
    yield "answer", rule, ~answered & answer.is_not_null()
    equal = (answer == pl.col("expected")).fill_null(value=False)
    rule = "correct where the answer is the expected one"
    yield "outcome", rule, equal & (outcome == "wrong")
    yield "outcome", "wrong where it is another", ~equal & (outcome == "correct")
    of_forms = {name for name in columns if name.startswith("logp_")}
    for name in sorted(columns & _MEASURED | of_forms):
        least, most = limits_of(name, server="fingerprint" in columns)
        outside = ~pl.col(name).is_between(least, most) | pl.col(name).cast(pl.Float64).is_nan()
        yield name, f"within [{least:g}, {most:g}]", outside.fill_null(value=False)


_MEASURED = {column.name for column in ANSWER_COLUMNS if column.dtype in {pl.Float64, pl.Int64}}
