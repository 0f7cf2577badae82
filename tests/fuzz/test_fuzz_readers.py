"""A damaged file is read, or refused in one line that names it: for every reader of users' files."""

import functools
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from gguf import GGUFWriter
from hypothesis import given
from hypothesis import strategies as st

from helpers import make_suite
from misfired.errors import MisfiredError
from misfired.prompts.primings import read_primings
from misfired.runs.folder import JOURNAL, RunFolder, read_answers
from misfired.runs.manifest import FORMAT, MANIFEST, load_manifest
from misfired.scoring.intervention import read_intervention
from misfired.scoring.protocol import read_protocol
from misfired.suites import build_pairs, read_suite, write_suite
from misfired.suites.card import read_card
from misfired.tables import EVERY, read_table

PROTOCOL = b'name = "three"\nversion = "1"\ninstruction = "Answer with a or b."\n[answers]\na = ["A"]\nb = ["B"]\n'
PRIMING = b'[kind]\ntext = "Be kind."\nsides = ["stereotyped"]\n'
ABLATE = b'[[ablate]]\nlayer = 4\nheads = [2]\nmethod = "zero"\n'
CSV = b'ann,bob\n1,1.0\n007,"a ""b"", c"\n"two\nlines",NaN\n'
ANSWER = {"pair": "p", "prompt": 0, "outcome": "correct", "reason": None, "logit_diff": -0.25}
#: What readers stumble over.
WORDS = [
    *(b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"\xff", b"\r", b"\n", b'"', b"'", b",", b"\\", b"{", b"]"),
    *(b"\\ud800", b"\\u0000", b"NaN", b"-Infinity", b"1e400", b"9" * 5_000, b"[" * 100_000, b"null"),
    *(b"\xed\xa0\x80", b"-0", b"1.5", b"true", b'""', b'"id": 1,', b"[[a]]\n", b"= 1979-05-27\n"),
]  # fmt: skip


@functools.cache
def folder() -> Path:
    holder = tempfile.TemporaryDirectory()
    folder.holder = holder
    return Path(holder.name)


def bbq_row(number: int) -> dict[str, object]:
    """An invented row in the form of BBQ's."""
    people = {
        "ans0": ["the baker", "old"],
        "ans1": ["the smith", "nonOld"],
        "ans2": ["Nobody", "unknown"],
    }
    return {
        "example_id": number, "question_index": "1", "question_polarity": "neg",
        "context_condition": "disambig", "category": "Age", "answer_info": people,
        "additional_metadata": {"stereotyped_groups": ["old"], "version": "a"},
        "context": f"The baker and the smith met at noon. The {'smith' if number % 2 else 'baker'} was late.",
        "question": "Who was late?", "ans0": "The baker", "ans1": "The smith", "ans2": "Not known",
        "label": number % 2,
    }  # fmt: skip


def written(name: str, write: Callable[[Path], object]) -> bytes:
    write(folder() / name)
    return (folder() / name).read_bytes()


def write_gguf(path: Path) -> None:
    writer = GGUFWriter(path, "controlvector")
    for layer in (1, 2):
        writer.add_tensor(f"direction.{layer}", np.ones(8, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read_with(name: str) -> Callable[[Path], object]:
    """Read an array through the intervention that names it."""

    def read(path: Path) -> object:
        toml = path.with_name("it.toml")
        toml.write_text(f'[direction]\nfile = "{path.name}"\nlayers = [1, 2]\n')
        return read_intervention(toml)

    return read


def read_journal(path: Path) -> object:
    run = path.with_name("run")
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir()
    (run / MANIFEST).write_text(json.dumps({"format": FORMAT, "status": "running", "settings": {}}))
    shutil.copy(path, run / JOURNAL)
    with RunFolder(run, {}) as opened:
        return opened.recorded


def read_manifest_of(path: Path) -> object:
    shutil.copy(path, path.with_name(MANIFEST))
    return load_manifest(path.parent)


def read_bbq(path: Path) -> object:
    shutil.copy(path, path.with_name("Age.jsonl"))
    return [build_pairs(path.parent, ["Age"], variant) for variant in ("paper", "strict")]


Reader = tuple[str, Callable[[], bytes], Callable[[Path], object]]


def jsonl(rows: list[dict[str, object]]) -> bytes:
    return "\n".join(map(json.dumps, rows)).encode()


def suite_bytes(suffix: str) -> Callable[[], bytes]:
    return lambda: written(f"sound{suffix}", lambda path: write_suite(make_suite(8), path))


def answers(path: Path) -> None:
    rows = (
        make_suite(8)
        .select("id", "category", "scenario")
        .with_columns(priming=pl.lit("none"), stereotyped=True, contrast=None)
    )
    getattr(rows, {".jsonl": "write_ndjson"}.get(path.suffix, "write_parquet"))(path)


READERS: dict[str, Reader] = {
    "suite.parquet": (".parquet", suite_bytes(".parquet"), read_suite),
    "suite.jsonl": (".jsonl", suite_bytes(".jsonl"), read_suite),
    "suite.csv": (".csv", suite_bytes(".csv"), read_suite),
    "ratings.csv": (".csv", lambda: CSV, lambda path: read_table(path, labels=EVERY)),
    "ratings.jsonl": (
        ".jsonl",
        lambda: b'{"ann": 1, "bob": "x"}\n{"ann": null, "bob": true}\n',
        lambda path: read_table(path, labels=EVERY),
    ),
    "answers.parquet": (".parquet", lambda: written("answers.parquet", answers), read_answers),
    "answers.jsonl": (".jsonl", lambda: written("answers.jsonl", answers), read_answers),
    "journal": (".jsonl", lambda: jsonl([ANSWER, ANSWER | {"prompt": 1}]) + b"\n", read_journal),
    "manifest": (
        ".json",
        lambda: jsonl([{"format": FORMAT, "status": "running", "settings": {"a": [1, 2.5]}}]),
        read_manifest_of,
    ),
    "bbq": (".jsonl", lambda: jsonl([bbq_row(number) for number in range(4)]), read_bbq),
    "protocol": (".toml", lambda: PROTOCOL, read_protocol),
    "priming": (".toml", lambda: PRIMING, read_primings),
    "intervention": (".toml", lambda: ABLATE, read_intervention),
    "array": (".npy", lambda: written("a.npy", lambda p: np.save(p, np.ones(8))), read_with("npy")),
    "vector": (".gguf", lambda: written("a.gguf", write_gguf), read_with("gguf")),
    "card": (
        ".toml",
        lambda: written(
            "carded.card.toml",
            lambda path: write_suite(
                make_suite(8), path.with_name("carded.jsonl"), licence="CC0", source="ü"
            ),
        ),
        read_card,
    ),
}


@functools.cache
def sound(name: str) -> bytes:
    return READERS[name][1]()


@pytest.mark.parametrize("name", READERS)
def test_a_sound_file_is_read(name: str) -> None:
    path = folder() / f"sound-{name}{READERS[name][0]}"
    path.write_bytes(sound(name))
    READERS[name][2](path)


#: (what is done, where, what is written, how many bytes).
DAMAGE = st.tuples(
    st.sampled_from(["replace", "insert", "remove", "cut", "flip", "repeat"]),
    st.integers(0, 2**16),
    st.sampled_from(WORDS) | st.binary(min_size=1, max_size=4),
    st.integers(1, 40),
)


def damaged(content: bytes, damages: list[tuple[str, int, bytes, int]]) -> bytes:
    found = bytearray(content)
    for kind, place, word, n in damages:
        # Half of the places are near the end, where Parquet has its footer.
        at = place % max(len(found), 1) if place % 2 else max(len(found) - 1 - place % 700, 0)
        if kind == "replace":
            found[at : at + len(word)] = word
        elif kind == "insert":
            found[at:at] = word
        elif kind == "remove":
            del found[at : at + n]
        elif kind == "cut":
            del found[at:]
        elif kind == "flip" and found:
            found[at] ^= 1 << n % 8
        elif kind == "repeat":
            found[at:at] = found[at : at + n]
    return bytes(found)


@pytest.mark.parametrize("name", READERS)
@given(damages=st.lists(DAMAGE, min_size=1, max_size=3))
def test_a_damaged_file(name: str, damages: list[tuple[str, int, bytes, int]]) -> None:
    path = folder() / f"it{READERS[name][0]}"
    path.write_bytes(damaged(sound(name), damages))
    try:
        READERS[name][2](path)
    except MisfiredError as error:
        said = str(error)
    else:
        return
    assert str(folder()) in said or "direction.file" in said
    assert "\n" not in said
    assert len(said) < 1_000
    assert not any(
        word in said for word in ("infer_schema", "truncate_ragged", "set_int_max", "pl.")
    )
