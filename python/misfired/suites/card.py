"""Suite cards: what a suite says of itself, checked against its rows."""

import json
import os
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path

import polars as pl

from misfired.errors import ArgumentError, DataError
from misfired.files import file_sha256, read_struct, replacing
from misfired.types import check_type, checks_types

YES_NO = ("yes", "no")
"""The answers that a suite expects by default."""


@dataclass(frozen=True)
class Card:
    """What a suite says of itself, in the file `<suite>.card.toml` beside `<suite>.parquet`.

    Attributes:
        name: In the suite's column `suite` before the `@`.
        version: After the `@`.
        licence: Terms of use.
        source: Where the suite comes from.
        sha256: Of the suite's file, in hexadecimal.
        counts: Some or all numbers that `suite_counts` gives.
        answers: Answers that prompts may expect.
    """

    name: str
    version: str
    licence: str
    source: str
    sha256: str
    counts: dict[str, int] = field(default_factory=dict)
    answers: tuple[str, ...] = YES_NO

    def __post_init__(self) -> None:
        for name in ("name", "version", "licence", "source", "sha256"):
            check_type(name, value := getattr(self, name), str)
            if not value.strip():
                raise ArgumentError(f"{name} must not be empty, got {value!r}")
        check_answers(self.answers)


def check_answers(answers: Collection[str]) -> None:
    """Raise an `ArgumentError` unless the answers of a suite are two or more unlike texts."""
    found = [answers] if isinstance(answers, str) else list(answers)
    are_texts = all(isinstance(answer, str) and answer for answer in found)
    if not are_texts or len({*found}) < max(2, len(found)):
        raise ArgumentError(f"answers must be two or more unlike texts, got {found}")


def card_path(suite: str | os.PathLike[str]) -> Path:
    """Return the path of the card of a suite's file, such as `drinks.card.toml`."""
    return Path(suite).with_suffix(".card.toml")


def suite_counts(suite: pl.DataFrame) -> dict[str, int]:
    """Count a suite's pairs, twins, scenarios and categories."""
    n_twins = suite["twin_of"].count() if "twin_of" in suite.columns else 0
    return {
        "pairs": len(suite) - n_twins,
        "twins": n_twins,
        "scenarios": suite["scenario"].n_unique(),
        "categories": suite["category"].n_unique(),
    }


@checks_types
def read_card(path: str | os.PathLike[str]) -> Card:
    """Read a card; errors as `misfired.files.read_struct`."""
    return read_struct(Path(path), Card)


def check_card(card: Card, suite: pl.DataFrame, file: Path) -> None:
    """Raise a `DataError` if name, version, hash or a count differs from the suite beside it."""
    where = card_path(file)
    stated = f"{card.name}@{card.version}"
    if len(others := (suite["suite"] != stated).arg_true()):
        rule = f"{stated!r} as in {where.name}, got {suite['suite'][others[0]]!r}"
        raise DataError(f"{file}, row {others[0] + 1}: suite must be {rule}")
    counts = suite_counts(suite)
    for name, number in card.counts.items():
        if name not in counts:
            known = ", ".join(counts)
            raise DataError(f"{where}: unknown key 'counts.{name}', must be one of {known}")
        if number != counts[name]:
            rule = f"{counts[name]} as in {file.name}"
            raise DataError(f"{where}: counts.{name} must be {rule}, got {number}")
    if (found := file_sha256(file)) != card.sha256.lower():
        raise DataError(f"{where}: sha256 must be {found!r} as of {file.name}, got {card.sha256!r}")


def make_card(
    suite: pl.DataFrame, file: Path, *, licence: str, source: str, answers: Collection[str]
) -> Card:
    """Return the card of a suite that is written in a file, if its rows are of one suite."""
    names = suite["suite"].unique(maintain_order=True).to_list()
    if len(names) > 1:
        raise DataError(f"rows of a suite with a card must be of one suite, got {', '.join(names)}")
    name, version = names[0].split("@")
    sha256, counts = file_sha256(file), suite_counts(suite)
    return Card(name, version, licence, source, sha256, counts, tuple(answers))


def write_card(card: Card, file: Path) -> None:
    """Write the card of a suite's file as TOML, whole or not at all."""
    fields = asdict(card)
    counts = fields.pop("counts")
    # A JSON text or list of texts is one of TOML, too.
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]
    lines += ["", "[counts]", *(f"{name} = {number}" for name, number in counts.items()), ""]
    with replacing(card_path(file)) as temporary:
        temporary.write_text("\n".join(lines), encoding="utf-8")
