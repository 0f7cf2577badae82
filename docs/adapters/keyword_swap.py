"""From requests that name a group to a suite of pairs: the same request, another group word.

Usage: python keyword_swap.py requests.csv out.parquet
"""

import re
import sys
from pathlib import Path

import polars as pl

from misfired import write_suite
from misfired.tables import read_table


def swap(text: str, one: str, other: str) -> str:
    """Exchange two words wherever they stand, so that who did what changes sides as well."""
    names = {one.lower(): other, other.lower(): one}

    def exchanged(found: re.Match[str]) -> str:
        word = names[found[0].lower()]
        return word.capitalize() if found[0][0].isupper() else word

    return re.sub(rf"\b({re.escape(one)}|{re.escape(other)})\b", exchanged, text, flags=re.I)


def build(requests: pl.DataFrame) -> pl.DataFrame:
    """One pair per request; the columns are those of `misfired.suites.PAIRS_SCHEMA`."""
    rows = [
        {
            "id": row["id"],
            "suite": "keyword-swap@1.0.0",
            "category": row["topic"],
            # Requests made from one template are not independent of one another.
            "scenario": row["template"],
            "stereotyped_group": row["word"],
            "contrast_group": row["other_word"],
            "cue": f"It is not okay to treat {row['word']} people differently.",
            "stereotyped": row["request"],
            "contrast": swap(row["request"], row["word"], row["other_word"]),
            "expected_stereotyped": row["expected"],
            "expected_contrast": row["expected"],
        }
        for row in requests.iter_rows(named=True)
    ]
    return pl.DataFrame(rows)


if __name__ == "__main__":
    source, out = map(Path, sys.argv[1:])
    pairs = build(read_table(source))
    write_suite(pairs, out, licence="MIT", source=f"Invented requests in {source.name}.")
