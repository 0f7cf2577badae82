"""Vocabularies for models that are made on the spot: copied from a GGUF file, or built in code."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from gguf import GGUFValueType, TokenType

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "<|{{ message['role'] }}|>\n{{ message['content'] }}<|end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
SPECIAL_TOKENS = ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")

# Single tokens after a space; the capitalised and bare forms below are single tokens too.
WORDS = """
a about above across act after again against age ago all almost along also always am among an and
another answer any anything are area as ask asked at away back bad be because become been before
began being believe below best better between big black body book both boy bring brother build but
buy by call called came can car care carry case center change child children city close cold come
company context could country course cut dark daughter day days did different do does doctor dog
done door down draw drive during each early easy eat either end engineer enough even ever every
eyes face fact false family far fast father feel feet felt few find first five follow food for found
four free friend from full game gave get girl give given go going gone good got government great
green group had half hand hands happy hard has have he head hear heard help her here high him his
history hold home hot hour house how human hundred i idea if important in interest into is it its
job just keep kind knew know known land large last later learn least leave left less let letter
life light like line list little live long look lost love low made make man many may me mean men
might mind minutes moment money month more morning most mother mountain move much music must my
name near need never new next night no not nothing notice now number nurse of off office old on
once one only open or order other our out over own page paper part past people person picture place
plan plant play point poor power problem program public put question quite ran read ready real
red rest rich right river road room round run said same sat saw say school sea second see seem
seen sentence set several shall she short should show side since sister sit six small so social
some someone something son soon stand start state statement still stop story street strong student
study such sun sure system table take talk tell ten than that the their them then there these they
thing things think third this those thought three through time times to today together told too
took town tree true try turn two under until up upon us use used very voice walk wall want war
warm was watch water way we week well went were what when where which while white who whole why
will wind with without woman women wood word words work worked worker world would write wrong
year years yes yet you young your
"""
CAPITALISED = """
A And Answer Are As At But Do Does For He Her His How I If In Is It No Not On One Question She So
The Their There They This Was We What When Where Which Who Why Yes You
"""
BARE = ("yes", "no", "answer", "true", "false", "the", "a")


@dataclass(frozen=True)
class Metadata:
    """One GGUF metadata value with its types."""

    value: Any
    type: GGUFValueType
    element_type: GGUFValueType | None = None


Tokenizer = dict[str, Metadata]


def n_tokens(tokenizer: Tokenizer) -> int:
    return len(tokenizer["tokenizer.ggml.tokens"].value)


def with_chat_template(tokenizer: Tokenizer, template: str | None) -> Tokenizer:
    """None keeps what the vocabulary brings, an empty text leaves the model without a template."""
    if template is None:
        return tokenizer
    key = "tokenizer.chat_template"
    kept = {name: data for name, data in tokenizer.items() if name != key}
    return kept | ({key: Metadata(template, GGUFValueType.STRING)} if template else {})


# --- copied from a file -------------------------------------------------------------------------

_SCALARS = {
    GGUFValueType.UINT8: "<B",
    GGUFValueType.INT8: "<b",
    GGUFValueType.UINT16: "<H",
    GGUFValueType.INT16: "<h",
    GGUFValueType.UINT32: "<I",
    GGUFValueType.INT32: "<i",
    GGUFValueType.FLOAT32: "<f",
    GGUFValueType.BOOL: "<?",
    GGUFValueType.UINT64: "<Q",
    GGUFValueType.INT64: "<q",
    GGUFValueType.FLOAT64: "<d",
}


class _Header:
    """Walks a GGUF header: gguf.GGUFReader needs 10 s for the strings of Llama 3, this 0.3 s."""

    def __init__(self, data: bytes) -> None:
        self.data, self.position = data, 0

    def scalar(self, layout: str) -> Any:
        (value,) = struct.unpack_from(layout, self.data, self.position)
        self.position += struct.calcsize(layout)
        return value

    def string(self) -> bytes:
        length = self.scalar("<Q")
        start, self.position = self.position, self.position + length
        if self.position > len(self.data):
            raise struct.error("string past the end of the file")
        return self.data[start : self.position]

    def array(self) -> tuple[list[Any], GGUFValueType]:
        element_type = GGUFValueType(self.scalar("<I"))
        length = self.scalar("<Q")
        if element_type == GGUFValueType.STRING:
            return [self.string() for _ in range(length)], element_type
        layout = f"<{length}{_SCALARS[element_type][1]}"
        values = struct.unpack_from(layout, self.data, self.position)
        self.position += struct.calcsize(layout)
        return list(values), element_type

    def metadata(self) -> Metadata:
        value_type = GGUFValueType(self.scalar("<I"))
        if value_type == GGUFValueType.STRING:
            return Metadata(self.string(), value_type)
        if value_type == GGUFValueType.ARRAY:
            values, element_type = self.array()
            return Metadata(values, value_type, element_type)
        return Metadata(self.scalar(_SCALARS[value_type]), value_type)

    def items(self) -> Iterator[tuple[str, Metadata]]:
        self.position = 16  # magic, version, number of tensors
        for _ in range(self.scalar("<Q")):
            yield self.string().decode(), self.metadata()


def read_tokenizer(path: Path) -> Tokenizer:
    """All `tokenizer.*` metadata of a GGUF file, in the order of the file."""
    data = path.read_bytes()
    if data[:4] != b"GGUF":
        raise ValueError(f"{path}: not a GGUF file (it begins with {data[:4]!r})")
    try:
        found = {k: v for k, v in _Header(data).items() if k.startswith("tokenizer.")}
    except (struct.error, KeyError, ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: GGUF header cannot be read: {error}") from error
    if "tokenizer.ggml.tokens" not in found:
        raise ValueError(f"{path}: holds no vocabulary (no tokenizer.ggml.tokens)")
    return found


# --- built in -----------------------------------------------------------------------------------


def byte_symbols() -> dict[int, str]:
    """The printable character for each byte in a byte-level BPE, by GPT-2's convention."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {
        byte: chr(256 + rank) for rank, byte in enumerate(others)
    }


def _merged(symbols: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    merged: list[str] = []
    rest = iter(range(len(symbols)))
    for i in rest:
        if symbols[i : i + 2] == pair:
            merged.append(symbols[i] + symbols[i + 1])
            next(rest)
        else:
            merged.append(symbols[i])
    return tuple(merged)


def _learn_merges(words: list[str]) -> list[tuple[str, str]]:
    """Byte-pair encoding trained until each word is one symbol.

    The encoder applies merges in the order in which they were learned, so each of the words is
    one token by construction; merges written by hand could block each other.
    """
    symbols = byte_symbols()
    split = {tuple(symbols[byte] for byte in word.encode()) for word in words}
    merges: list[tuple[str, str]] = []
    while pairs := Counter(pair for word in split for pair in pairwise(word)):
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        split = {_merged(word, best) for word in split if len(word) > 1}
    return merges


@cache
def builtin_tokenizer(n_vocab: int | None = None) -> Tokenizer:
    """A byte-level BPE of about 1,150 tokens: bytes, common English words, five special tokens.

    It is filled up to `n_vocab` with tokens that no text has.
    """
    after_space = [f" {word}" for word in (*WORDS.split(), *CAPITALISED.split())]
    merges = _learn_merges([*after_space, *CAPITALISED.split(), *BARE])
    plain = [*byte_symbols().values(), *dict.fromkeys("".join(pair) for pair in merges)]
    special = {token: len(plain) + rank for rank, token in enumerate(SPECIAL_TOKENS)}
    types = [TokenType.NORMAL] * len(plain) + [TokenType.CONTROL] * len(special)
    unused = [f"<unused{rank}>" for rank in range((n_vocab or 0) - len(types))]
    types += [TokenType.UNUSED] * len(unused)

    def text(value: str) -> Metadata:
        return Metadata(value, GGUFValueType.STRING)

    def token_id(token: str) -> Metadata:
        return Metadata(special[token], GGUFValueType.UINT32)

    def array(values: list[Any], element_type: GGUFValueType) -> Metadata:
        return Metadata(values, GGUFValueType.ARRAY, element_type)

    return {
        "tokenizer.ggml.model": text("gpt2"),
        "tokenizer.ggml.pre": text("gpt-2"),
        "tokenizer.ggml.tokens": array([*plain, *special, *unused], GGUFValueType.STRING),
        "tokenizer.ggml.token_type": array([int(t) for t in types], GGUFValueType.INT32),
        "tokenizer.ggml.merges": array([" ".join(m) for m in merges], GGUFValueType.STRING),
        "tokenizer.ggml.bos_token_id": token_id("<|endoftext|>"),
        "tokenizer.ggml.eos_token_id": token_id("<|endoftext|>"),
        "tokenizer.ggml.eot_token_id": token_id("<|end|>"),
        "tokenizer.ggml.padding_token_id": token_id("<|endoftext|>"),
        "tokenizer.ggml.add_bos_token": Metadata(False, GGUFValueType.BOOL),
        "tokenizer.chat_template": text(CHAT_TEMPLATE),
    }
