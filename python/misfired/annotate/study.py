"""The folder of a study: what was drawn, the texts to fill in, the links, and the answers.

`study.json` says how the study was drawn, `pairs.parquet` holds the pairs and their false questions,
`items.parquet` one row per question, `orders.parquet` the questions of each annotator. `links.json` holds
the secrets and can be read by its owner only. `answers/` has one file for each annotator who has begun.
"""

import hashlib
import json
import os
import re
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from misfired._core import __version__
from misfired.annotate import draw, texts
from misfired.annotate.options import StudyOptions
from misfired.annotate.stories import CANNOT_TELL, STORY_ANSWERS
from misfired.errors import ArgumentError, DataError, RunFolderError
from misfired.files import file_sha256, make_folder, replacing
from misfired.options import takes_options
from misfired.reading import check_file, read_json, read_text
from misfired.runs.manifest import pairs_sha256
from misfired.stats.people import zero_bounds
from misfired.suites import validate_suite
from misfired.tables import read_parquet
from misfired.types import checks_types

FORMAT = 1
STUDY, PAIRS, ITEMS, ORDERS = "study.json", "pairs.parquet", "items.parquet", "orders.parquet"
LINKS, ANSWERS = "links.json", "answers"

#: The secret word of a link: 24 random bytes.
_WORD = re.compile(r"[A-Za-z0-9_-]{32}")
#: Files that must not change once the study is drawn.
_FIXED = (PAIRS, ITEMS, ORDERS)


class _Files(msgspec.Struct, rename={"pairs": PAIRS, "items": ITEMS, "orders": ORDERS}):
    pairs: str
    items: str
    orders: str


class _About(msgspec.Struct):
    """What `study.json` must hold to be used."""

    misfired: str
    made: float
    options: StudyOptions
    answers: list[str]
    core: list[str]
    sha256: _Files


@dataclass(frozen=True)
class Study:
    """A study that was made.

    Attributes:
        path: Its folder.
        about: What `study.json` holds.
        sha256: SHA-256 of that file.
    """

    path: Path
    about: dict[str, Any]
    sha256: str

    @classmethod
    @checks_types
    def read(cls, path: Path | str) -> "Study":
        """Read the folder of a study, and check that what was drawn is still there.

        Raises:
            DataError: The folder is no study, or a file of it has changed.
        """
        folder = Path(path)
        about = read_json(folder / STUDY)
        if not isinstance(about, dict) or about.get("format") != FORMAT:
            raise DataError(f"{folder / STUDY}: not a study of format {FORMAT}")
        try:
            options = msgspec.convert(about, _About).options
            StudyOptions.of(about["options"])  # refuses other keys
        except (msgspec.ValidationError, ArgumentError) as error:
            raise DataError(f"{folder / STUDY}: {str(error).replace('$.', '')}") from None
        for name in _FIXED:
            file = folder / name
            check_file(file)
            if (found := file_sha256(file)) != about["sha256"][name]:
                stated = about["sha256"][name]
                hashes = f"sha256 {found[:12]}..., {STUDY} has {stated[:12]}..."
                raise DataError(f"{file}: changed since the study was made ({hashes})")
        about["options"] = asdict(options)
        return cls(folder, about, file_sha256(folder / STUDY))

    @property
    def annotators(self) -> list[str]:
        """Names of the annotators, which say nothing of them."""
        return annotator_names(self.about["options"]["annotators"])

    @property
    def answers(self) -> list[str]:
        """Answers of the suite; `allowed` adds `stories.CANNOT_TELL`."""
        return list(self.about["answers"])

    def pairs(self) -> pl.DataFrame:
        """Return the pairs drawn and their false questions, which have `twin_of`."""
        return read_parquet(self.path / PAIRS)

    def items(self) -> pl.DataFrame:
        """Return one row per question; see `draw.ITEMS_SCHEMA`."""
        return read_parquet(self.path / ITEMS)

    def allowed(self) -> dict[str, tuple[str, ...]]:
        """Return the answers that each item allows, "cannot tell" last."""
        own = (*(answer for answer in self.answers if answer != CANNOT_TELL), CANNOT_TELL)
        items = self.items().select("item", "kind").iter_rows()
        return {item: STORY_ANSWERS if kind == draw.ATTENTION else own for item, kind in items}

    def orders(self) -> dict[str, list[str]]:
        """Return the items of each annotator, in order."""
        rows = read_parquet(self.path / ORDERS).sort("annotator", "place")
        parts = rows.partition_by("annotator", as_dict=True, maintain_order=True)
        return {str(name): part["item"].to_list() for (name,), part in parts.items()}

    def links(self) -> dict[str, str]:
        """Return the annotator of each link's secret word.

        Raises:
            DataError: The file is missing or damaged.
        """
        content = self._hidden()
        return {content["links"][name]: name for name in self.annotators}

    def secret(self) -> bytes:
        """Return the key with which forms are signed; errors as `links`."""
        return bytes.fromhex(self._hidden()["secret"])

    def text(self, name: str) -> str:
        """Return a text of the study as it stands in its folder; `DataError` if it cannot be read."""
        return read_text(self.path / name)

    def _hidden(self) -> dict[str, Any]:
        file = self.path / LINKS
        content = read_json(file)
        try:
            links, secret = content["links"], bytes.fromhex(content["secret"])
            whole = all(_WORD.fullmatch(links[name]) for name in self.annotators)
        except (KeyError, TypeError, ValueError):
            whole = False
        if not whole or len(set(links.values())) < len(self.annotators) or len(secret) < 32:
            raise DataError(f"{file}: must hold a secret, and a link of its own for each annotator")
        return dict(content)


def annotator_names(n: int) -> list[str]:
    """Return the names of annotators.

    Example:
        >>> annotator_names(2)
        ['annotator-01', 'annotator-02']
    """
    width = max(2, len(str(n)))
    return [f"annotator-{number:0{width}}" for number in range(1, n + 1)]


@takes_options(StudyOptions)
def make_study(
    pairs: pl.DataFrame, path: Path | str, *, answers: Sequence[str] = ("yes", "no"), **options: Any
) -> Study:
    """Draw a study from a suite and write its folder.

    Args:
        pairs: A suite, as `misfired.read_suite` gives it.
        path: A folder that does not exist, or is empty.
        answers: Answers of the suite; every question also allows "cannot tell".
        options: Fields of `StudyOptions`.

    Raises:
        ArgumentError: The suite has too few pairs.
        DataError: It is no suite, or expects other answers.
        RunFolderError: The folder holds something, or cannot be written.

    Example:
        >>> import tempfile
        >>> pairs = pl.DataFrame({
        ...     "id": list("abcd"), "suite": "drinks@1", "category": "Tea", "scenario": list("stuv"),
        ...     "stereotyped_group": "cats", "contrast_group": "dogs", "cue": None,
        ...     "stereotyped": [f"A cat met a dog. The cat drank {x}. Did the cat drink {x}?" for x in "abcd"],
        ...     "contrast": [f"A dog met a cat. The dog drank {x}. Did the dog drink {x}?" for x in "abcd"],
        ...     "expected_stereotyped": "yes", "expected_contrast": "yes"})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     study = make_study(pairs, f"{folder}/study", n_pairs=4, annotators=2, attention=0)
        ...     [len(order) for order in study.orders().values()]
        [16, 16]
    """
    asked, folder = StudyOptions.of(options), Path(path)
    if not all(answers) or len(set(answers)) < max(2, len(answers)):
        raise ArgumentError(f"answers must be two or more unlike texts, got {list(answers)}")
    pairs = validate_suite(pairs, source="pairs", answers=answers)
    drawn, chosen = _choose(pairs, asked)
    core, items = drawn[: asked.n_core], draw.build_items(chosen)
    hands = draw.deal(chosen, drawn, asked)
    names = annotator_names(asked.annotators)
    rows = [
        (name, place, item)
        for number, (name, hand) in enumerate(zip(names, hands, strict=True))
        for place, item in enumerate(draw.order_of(items, hand, asked, number))
    ]
    orders = pl.DataFrame(rows, schema=["annotator", "place", "item"], orient="row")
    tables = {PAIRS: chosen, ITEMS: items, ORDERS: orders}
    about = {"format": FORMAT, "misfired": __version__, "made": time.time()}
    about |= {"suite": ", ".join(sorted(set(chosen["suite"]))), "suite_sha256": pairs_sha256(pairs)}
    about |= {"options": asdict(asked), "answers": list(answers), "core": core}
    counts = _counts(tables, hands, core)
    about |= {"counts": counts, "zero": zero_bounds(asked.annotators, counts["n_scenarios"])}
    _write(folder, tables, about, names)
    return Study.read(folder)


def _choose(pairs: pl.DataFrame, asked: StudyOptions) -> tuple[list[str], pl.DataFrame]:
    """Return the ids of pairs in the order in which they are drawn; their rows, and their false questions."""
    foils = draw.foil_rows(pairs)
    able = set(foils["twin_of"])
    drawn = draw.draw_pairs(
        pairs, asked.n_pairs, seed=asked.seed, able=able if asked.foils else None
    )
    with_foil = [name for name in drawn if name in able][: round(asked.foils * len(drawn))]
    chosen = pairs.filter(pl.col("id").is_in(drawn))
    if "twin_of" not in chosen.columns:
        chosen = chosen.with_columns(twin_of=pl.lit(None, pl.String))
    kept = foils.filter(pl.col("twin_of").is_in(with_foil)).select(chosen.columns)
    return drawn, pl.concat([chosen, kept])


def _counts(
    tables: dict[str, pl.DataFrame], hands: Sequence[Sequence[str]], core: Sequence[str]
) -> dict[str, Any]:
    shared = Counter(pair for hand in hands for pair in hand[len(core) :])
    pairs = tables[PAIRS].filter(pl.col("twin_of").is_null())
    asked = tables[ORDERS].join(tables[ITEMS], on="item")
    questions = asked.group_by("annotator").len()["len"]
    own = asked.filter(pl.col("kind") != draw.ATTENTION)
    return {
        "n_pairs": len(pairs),
        "n_scenarios": pairs["scenario"].n_unique(),
        "categories": dict(sorted(pairs["category"].value_counts().iter_rows())),
        "n_foils": len(tables[PAIRS]) - len(pairs),
        "pairs_a_person": [min(map(len, hands)), max(map(len, hands))],
        "people_a_pair": [min(shared.values(), default=0), max(shared.values(), default=0)],
        "questions_a_person": [questions.min(), questions.max()],
        "expected": dict(sorted(own["expected"].value_counts().iter_rows())),
    }


def _write(
    folder: Path, tables: dict[str, pl.DataFrame], about: dict[str, Any], names: list[str]
) -> None:
    try:
        make_folder(folder)
        if strangers := sorted(each.name for each in folder.iterdir()):
            raise RunFolderError(f"{folder}: must be empty or not exist, it holds {strangers[0]!r}")
        (folder / ANSWERS).mkdir(mode=0o700)
        for name, table in tables.items():
            with replacing(folder / name) as temporary:
                table.write_parquet(temporary)
        about["sha256"] = {name: file_sha256(folder / name) for name in _FIXED}
        links = {name: secrets.token_urlsafe(24) for name in names}
        hidden = json.dumps({"secret": secrets.token_hex(32), "links": links}, indent=1) + "\n"
        # Readable by its owner from the start.
        with os.fdopen(
            os.open(folder / LINKS, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w"
        ) as file:
            file.write(hidden)
            os.fsync(file.fileno())
        content = (json.dumps(about, indent=1, ensure_ascii=False) + "\n").encode()
        named = about | {"study_sha256": hashlib.sha256(content).hexdigest()}
        for name, text in texts.study_texts(named).items():
            (folder / name).write_text(text, encoding="utf-8")
        with replacing(folder / STUDY) as temporary:
            temporary.write_bytes(content)
    except RunFolderError:
        raise
    except OSError as error:
        raise RunFolderError(f"{folder}: {error.strerror or error}") from None
