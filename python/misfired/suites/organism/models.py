"""Where the shipped organisms lie, and what their card says of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

import polars as pl

from misfired.files import read_toml

__all__ = ["build_record", "card", "content_sha256", "models"]

_FOLDER: Final = Path(__file__).parent
_CONTENT: Final = (
    "id",
    "suite",
    "category",
    "scenario",
    "stereotyped_group",
    "contrast_group",
    "cue",
    "neutral",
    "stereotyped",
    "contrast",
    "expected_stereotyped",
    "expected_contrast",
)


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
    """Return the SHA-256 of a pairs table's texts: its rows as JSON arrays, one a line, in UTF-8.

    The columns are those of every pairs table and `neutral`, in the card's order; what is planted
    is not part of the content.
    """
    digest = hashlib.sha256()
    for row in pairs.select(_CONTENT).iter_rows():
        digest.update(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()
