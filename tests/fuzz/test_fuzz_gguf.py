"""A damaged GGUF file is loaded, refused in one line, or found out by the guard: nothing else."""

import ast
import functools
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from gguf import GGUFReader
from hypothesis import example, given
from hypothesis import strategies as st

from misfired.errors import ModelError
from misfired.scoring.llama.guard import try_loading
from random_model import make_model

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the worker forks"),
]

#: Lengths, counts, offsets and types that a reader may trust too much.
NUMBERS = (
    *(0, 1, 2, 3, 7, 8, 9, 12, 13, 31, 33, 255, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**32),
    *(2**40, 2**61, 2**62, 2**63 - 1, 2**63, 2**64 - 32, 2**64 - 1),
)


@dataclass(frozen=True)
class Sample:
    """A sound file, and where its header's fields and its tensors' descriptions begin."""

    content: bytes
    fields: tuple[int, ...]
    tensors: tuple[int, ...]
    n_header: int


@functools.cache
def folder() -> Path:
    holder = tempfile.TemporaryDirectory()
    folder.holder = holder
    return Path(holder.name)


@functools.cache
def sample(arch: str, quantisation: str) -> Sample:
    path = make_model(folder() / f"{arch}-{quantisation}.gguf", arch, quantisation=quantisation)
    reader = GGUFReader(path)

    def starts(field, n_parts: int) -> Iterator[int]:
        at = field.offset
        for part in field.parts[:n_parts]:
            yield at
            at += part.nbytes

    keys = [field for name, field in reader.fields.items() if not name.startswith("GGUF.")]
    return Sample(
        path.read_bytes(),
        (4, 8, 16, *(at for field in keys for at in starts(field, 12))),
        tuple(at for tensor in reader.tensors for at in starts(tensor.field, 99)),
        int(reader.data_offset),
    )


#: (what is done, at which of the known places, offset from it, number written, bytes written).
Damage = tuple[str, int, int, int, bytes]
DAMAGE = st.tuples(
    st.sampled_from(["number4", "number8", "number8", "byte", "cut", "insert", "remove"]),
    st.integers(0, 2**16),
    st.integers(0, 8),
    st.sampled_from(NUMBERS) | st.integers(0, 2**64 - 1),
    st.binary(min_size=1, max_size=9),
)


def damaged(found: Sample, damages: list[Damage]) -> bytes:
    content = bytearray(found.content)
    places = found.fields + found.tensors
    for kind, place, offset, number, written in damages:
        at = places[place % len(places)]
        if kind == "cut":
            at = place % (found.n_header if offset % 2 else len(content))
            del content[at:]
            break
        width = {"number4": 4, "number8": 8, "byte": 1}.get(kind)
        if width is not None:
            shift = offset if kind == "byte" else 0
            content[at + shift : at + shift + width] = struct.pack("<Q", number)[:width]
        elif kind == "insert":
            content[at:at] = written
        else:
            del content[at : at + len(written)]
    return bytes(content)


@functools.cache
def worker() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("gguf_worker.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@given(
    st.sampled_from([("llama", "f32"), ("gpt2", "f16"), ("gemma3", "q8_0")]),
    st.lists(DAMAGE, min_size=1, max_size=2),
)
# A sliding window of half a billion tokens.
@example(("gemma3", "q8_0"), [("byte", 359, 7, 31, b"")])
def test_a_damaged_file(which: tuple[str, str], damages: list[Damage]) -> None:
    path = folder() / "damaged.gguf"
    path.write_bytes(damaged(sample(*which), damages))
    asked = worker()
    asked.stdin.write(f"{path}\n")
    asked.stdin.flush()
    outcome, _, message = ast.literal_eval(asked.stdout.readline()).partition(" ")
    assert outcome in {"loaded", "refused", "died"}, (outcome, message)
    if outcome == "refused":
        assert str(path) in message
        assert message.isprintable()
    if outcome == "died":
        with pytest.raises(ModelError, match="dies of this file"):
            try_loading(path)
