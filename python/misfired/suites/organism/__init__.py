"""A suite with a known answer: a closed grammar and tiny models whose misfire is planted."""

import hashlib
import json
from pathlib import Path
from typing import Any

import polars as pl

from misfired.files import read_toml
from misfired.suites.io import PAIRS_SCHEMA
from misfired.suites.organism.pairs import ORGANISMS, PRIMINGS, SUITE, build_organism_suite

__all__ = ["ORGANISMS", "PRIMINGS", "SUITE", "build_organism_suite"]
__all__ += ["build_record", "card", "content_sha256", "models"]

_FOLDER = Path(__file__).parent


def models() -> dict[str, Path]:
    """Return the shipped organisms: `base`, and `instruct` (base with one head made to misfire).

    Both are llama-architecture GGUFs (f16, under 3 MB each) with tokenizer and chat template. They
    know the words of the organism suite and no others, and answer `Yes` or `No`.

    Example:
        >>> sorted(models())
        ['base', 'instruct']
    """
    return {name: _FOLDER / f"organism-{name}.gguf" for name in ("base", "instruct")}


def card() -> dict[str, Any]:
    """Return the suite's card: counts, source, licence, content hash, and what is planted where.

    Example:
        >>> card()["organisms"]["instruct"]["planted_head"]
        {'layer': 4, 'head': 2}
    """
    return read_toml(_FOLDER / "card.toml")


def build_record() -> dict[str, Any]:
    """Return the record of the build that made the shipped organisms: versions, seeds, figures."""
    record: dict[str, Any] = json.loads((_FOLDER / "build.json").read_text(encoding="utf-8"))
    return record


def content_sha256(pairs: pl.DataFrame) -> str:
    """Return the SHA-256 of a suite's texts: its rows as JSON arrays, one a line, in UTF-8.

    The columns are those of every suite, with `neutral` after `cue`, and nothing that is planted.
    """
    columns = [*PAIRS_SCHEMA]
    columns.insert(columns.index("cue") + 1, "neutral")
    rows = (json.dumps(row, ensure_ascii=False) for row in pairs.select(columns).iter_rows())
    return hashlib.sha256("".join(f"{row}\n" for row in rows).encode()).hexdigest()
