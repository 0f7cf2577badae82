"""The columns of all tables of this package: type and content, each stated once."""

import polars as pl

TOTAL = "overall"
"""What the slice of all pairs is called; the column `total` knows it, since a category may be called so."""

COLUMNS: dict[str, tuple[type[pl.DataType], str]] = {
    "family": (pl.String, "family of tests"),
    "model": (pl.String, "model"),
    "rule": (pl.String, "the harm that is asked about"),
    "run": (pl.String, "name of the run or of the published row"),
    "slice": (
        pl.String,
        "overall, or a category; a category may be called so too",
    ),
    "total": (pl.Boolean, "true for all pairs together, false for a category"),
    "category": (pl.String, "category"),
    "contrast": (pl.String, "side, cue or interaction"),
    "priming": (pl.String, 'priming; "cue - none" is the change by a priming'),
    "condition": (pl.String, "stereotyped, contrast, or stereotyped - contrast"),
    "measure": (pl.String, "measure"),
    "scope": (pl.String, "of whom a rate of people is told"),
    "annotator": (pl.String, "name of the annotator"),
    "n_people": (pl.Int64, "people behind the rate"),
    "base": (pl.Float64, "value of the base, in percent"),
    "candidate": (pl.Float64, "value of the candidate, in percent"),
    "verdict": (pl.String, "pass, fail or inconclusive"),
    "n_needed": (pl.Int64, "scenarios that would settle it; null where none up to 20,000 would"),
    "first": (pl.Float64, "value of the first variant"),
    "second": (pl.Float64, "value of the second variant"),
    "value": (pl.Float64, "estimate: percent, percentage points, or standard deviations for d'"),
    "low": (pl.Float64, "lower end of the interval"),
    "high": (pl.Float64, "upper end of the interval"),
    "rank": (pl.Int64, "rank; the lowest value has rank 1"),
    "rank_low": (pl.Int64, "best rank that the data allow"),
    "rank_high": (pl.Int64, "worst rank that the data allow"),
    "reads": (pl.Boolean, "true if the model reads; null if it cannot be known"),
    "source": (pl.String, "run or published"),
    "n_pairs": (pl.Int64, "pairs with all their prompts scored: the n of the formulas"),
    "n_pairs_first": (pl.Int64, "scored pairs of the first variant"),
    "n_pairs_second": (pl.Int64, "scored pairs of the second variant"),
    "n_prompts": (pl.Int64, "scored prompts"),
    "n_scenarios": (pl.Int64, "scenarios"),
    "n_unscored": (pl.Int64, "pairs or prompts that are not scored"),
    "n_against": (pl.Int64, "discordant pairs that count against"),
    "n_for": (pl.Int64, "discordant pairs that count for"),
    "mar": (pl.Float64, "joint MAR in percent, unprimed and direct"),
    "mar_changed": (pl.Float64, "joint MAR with the cue, or with chain of thought"),
    "hits": (pl.Int64, "prompts that expect yes and get yes"),
    "misses": (pl.Int64, "prompts that expect yes and get no"),
    "false_alarms": (pl.Int64, "prompts that expect no and get yes"),
    "correct_rejections": (pl.Int64, "prompts that expect no and get no"),
    "statistic": (pl.Float64, "n_for - n_against in percent of the pairs"),
    "p_value": (pl.Float64, "p value of the test"),
    "p_adjusted": (pl.Float64, "p value adjusted for the family of tests"),
    "method": (pl.String, "how the interval was made, or the test"),
    "unit": (pl.String, "what was resampled"),
    "alternative": (pl.String, "which departures from the null hypothesis count"),
    "adjustment": (pl.String, "correction for the family of tests"),
    "n_base": (pl.Int64, "pairs behind the rate: its denominator, a + c of MAR"),
    "n_effective": (pl.Float64, "independent pairs that these are worth"),
    "n_informative": (pl.Int64, "scenarios with a pair behind the rate"),
    "flags": (pl.String, "what makes the rate unsure: wide, few_scenarios, at_limit"),
    "withheld": (pl.String, "why a report prints a dash though there is a value"),
    "reason": (pl.String, "why there is no value, no interval or no p value"),
}


def schema_of(columns: str) -> pl.Schema:
    """Return the schema of a table from the names of its columns, separated by spaces.

    Example:
        >>> schema_of("priming value").dtypes()
        [String, Float64]
    """
    return pl.Schema({name: COLUMNS[name][0] for name in columns.split()})
