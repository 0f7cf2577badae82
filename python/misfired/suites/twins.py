"""Twins that expect no, for pairs that all expect yes: only they can show that a model reads."""

import re
from collections.abc import Sequence

import polars as pl

READING = "_reading"
"""Ends the ids of twins that a run adds to show that the model reads."""

N_STORIES = 60
"""Pairs of a run, at most, whose two stories get a false question beside the true one."""

#: The question is the last sentence; contexts end in one of these.
_LAST = re.compile(r"^(.*[.!?]['\")]*)\s+([^.!?]*\?)$", re.DOTALL)
NEGATION = r"(?i)n['\u2019]t\b|\bnot\b|\bnever\b"
"""A negated text: no to such a question can mean either."""

_ARTICLE = re.compile(r"^(the|a|an|their|his|her)\s+", re.IGNORECASE)

_NEEDED = {"stereotyped_subject", "contrast_subject"}


def gold_no_twins(pairs: pl.DataFrame) -> pl.DataFrame:
    """Return a twin for each pair whose text allows one: the other person's question about each story.

    A twin's contrast prompt is the story of the pair's stereotyped prompt with the question of its
    contrast prompt, and the other way round. The right answer is no: one person did it, and the
    question is about the other. A pair has a twin where each story names both persons, and neither
    question is negated, since a "no" to such a question can mean either.

    Args:
        pairs: A suite whose pairs all expect yes, with `stereotyped_subject` and `contrast_subject`.

    Returns:
        Rows like those of `pairs`, with `twin_of` and ids that end in `READING`; none if the suite has
        no such columns, expects no somewhere, or has twins already.

    Example:
        >>> pair = {"id": "p", "stereotyped": "An old man met a boy. The old man fell. Did The old man "
        ...     "fall?", "contrast": "A boy met an old man. The boy fell. Did The boy fall?",
        ...     "expected_stereotyped": "yes", "expected_contrast": "yes",
        ...     "stereotyped_subject": "The old man", "contrast_subject": "The boy"}
        >>> gold_no_twins(pl.DataFrame([pair])).select("stereotyped", "twin_of").row(0)
        ('A boy met an old man. The boy fell. Did The old man fall?', 'p')
    """
    expected = pairs.select("expected_stereotyped", "expected_contrast").unique().rows()
    if expected != [("yes", "yes")] or not set(pairs.columns) >= _NEEDED:
        return pairs.clear()
    if "twin_of" in pairs.columns and pairs["twin_of"].count():
        return pairs.clear()
    rows, known = [], set(pairs["id"].to_list())
    for pair in pairs.iter_rows(named=True):
        if pair["id"] + READING in known:
            continue
        parts = _LAST.match(pair["stereotyped"]), _LAST.match(pair["contrast"])
        if parts[0] is None or parts[1] is None:
            continue
        (story_s, question_s), (story_k, question_k) = parts[0].groups(), parts[1].groups()
        both = [(story_s, pair["contrast_subject"]), (story_k, pair["stereotyped_subject"])]
        if not all(_names(story, subject) for story, subject in both):
            continue
        if re.search(NEGATION, question_s) or re.search(NEGATION, question_k):
            continue
        prompts = {"stereotyped": f"{story_k} {question_s}", "contrast": f"{story_s} {question_k}"}
        no = {"expected_stereotyped": "no", "expected_contrast": "no"}
        rows.append(pair | prompts | no | {"id": pair["id"] + READING, "twin_of": pair["id"]})
    schema = {**pairs.schema, "twin_of": pl.String()}
    return pl.DataFrame(rows, schema=schema, orient="row")


def checks_reading(frame: pl.DataFrame) -> pl.Expr:
    """Return what is true of twins that a run added; a pair of a user's may end in `READING` too.

    Example:
        >>> pairs = pl.DataFrame({"id": ["p", "p_reading", "q_reading"], "twin_of": [None, "p", None]})
        >>> pairs.filter(checks_reading(pairs))["id"].to_list()
        ['p_reading']
    """
    if "twin_of" not in frame.columns:
        return pl.lit(value=False)
    twin_of = pl.col("twin_of").cast(pl.String)
    return (pl.col("id") == twin_of + READING).fill_null(value=False)


def with_reading_check(pairs: pl.DataFrame, order: Sequence[str]) -> pl.DataFrame:
    """Return a suite with twins for at most `N_STORIES` of its pairs at its end.

    The first pairs of an order of ids get them, so that a part of a suite has a part of its twins, or
    all. A suite that cannot have them comes back as it is.
    """
    twins = gold_no_twins(pairs)
    if twins.is_empty():
        return pairs
    able = set(twins["twin_of"].to_list())
    taken = [name for name in order if name in able][:N_STORIES]
    first = pairs.with_columns(twin_of=pl.lit(None, pl.String))
    kept = twins.filter(pl.col("twin_of").is_in(taken))
    return pl.concat([first, kept.select(first.columns)])


def _names(story: str, subject: str) -> bool:
    words = _ARTICLE.sub("", subject.strip()).lower()
    return bool(words) and re.search(rf"\b{re.escape(words)}\b", story.lower()) is not None
