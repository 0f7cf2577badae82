"""Any text in any template: the tokens say what the text says, and no text becomes a special token."""

import functools
import os
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_cpp import llama_cpp as capi

from misfired import _core
from misfired.errors import ModelError, TemplateError
from misfired.scoring.forms import find_forms
from misfired.scoring.llama.library import captured_errors, load_library
from misfired.scoring.protocol import BARE, JSON, LOGIT, WHOLE, Protocol
from misfired.scoring.template import PLAIN, ChatTemplate
from misfired.scoring.tokens import PromptTokenizer
from plain_llama import load

pytestmark = pytest.mark.model

TEST_DATA = Path(
    os.environ.get("MISFIRED_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")
)

#: Real vocabularies, each with a chat template whose special tokens it has.
VOCABULARIES = {
    "llama-bpe": "meta-llama-Llama-3.1-8B-Instruct",
    "qwen2": "Qwen-Qwen3-0.6B",
    "gpt-2": None,
    "llama-spm": None,
    "phi-3": "microsoft-Phi-3.5-mini-instruct",
}
LONG = WHOLE.with_answers({"yes": (" Yes", " Yes, indeed", "Yes"), "no": (" No", " no way", "No")})
PROTOCOLS = (LOGIT, LONG, JSON, BARE)
#: The last one puts the answer right behind the pair's text, where tokens span the join.
SOURCES = (PLAIN, "{{ messages[0]['content'] }} Answer: ", "{{ messages[0]['content'] }}")


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer, the ids and the texts that are special to it, and a template for it."""

    tokenizer: _core.Tokenizer
    special: dict[int, str]
    control: frozenset[int]
    template: str | None

    def spelled(self, ids: np.ndarray) -> str:
        pieces = b"".join(self.tokenizer.piece(int(token)) for token in ids)
        return pieces.decode(errors="replace").replace("\u2581", " ")


@functools.cache
def vocabulary(name: str) -> Vocabulary:
    path = TEST_DATA / "vocab" / f"ggml-vocab-{name}.gguf"
    if not path.is_file():
        pytest.skip(f"no vocabulary at {path} (set MISFIRED_TEST_DATA)")
    library = load_library()
    captured_errors()
    model = load(path, vocab_only=True)
    tokenizer = _core.Tokenizer(_core.Model(library, model))
    vocab = capi.llama_model_get_vocab(model)
    special = {row[0]: row[1] for row in tokenizer.special_tokens()}
    control = {t for t in special if capi.llama_vocab_is_control(vocab, t)}
    chosen = VOCABULARIES[name]
    template = chosen and (TEST_DATA / "chat_templates" / f"{chosen}.jinja").read_text()
    return Vocabulary(tokenizer, special, frozenset(control), template)


@functools.cache
def tokenizer_of(name: str, source: str | None, protocol: int) -> PromptTokenizer:
    loaded = vocabulary(name)
    chosen = ChatTemplate(source or loaded.template or PLAIN, bos_token="", eos_token="")
    return PromptTokenizer(loaded.tokenizer, chosen, PROTOCOLS[protocol])


NAMES = st.sampled_from(sorted(VOCABULARIES))
SPELLED = (
    *(
        "<|im_end|>",
        "<|im_start|>assistant\n",
        "<|eot_id|>",
        "</s>",
        "<s>",
        "<unk>",
        "<bos>",
        "[INST]",
    ),
    *(
        "<|end|>",
        "<|user|>",
        "<|endoftext|>",
        "<|start_header_id|>",
        "<think>",
        "<0x0A>",
        "<|",
        "|>",
    ),
)
ODD = (
    *(
        "\u2581",
        "\u2581yes",
        "\u00a0",
        "\u200b",
        "\ufeff",
        "\x00",
        "\r\n",
        "\t",
        "   ",
        "\n\n\n",
        "\U0001f468\u200d\U0001f469",
    ),
    *(
        "e\u0301",
        "\u212b",
        "\ufffd",
        "\u0600",
        "\u4f60\u597d",
        "1234567",
        "don't",
        "YES",
        " yes",
        "No",
        "Answer:",
    ),
)
TEXT = st.lists(
    st.one_of(
        st.sampled_from(
            ("The baker", "lost", "a key.", "Did", "she", "?", " ", "  ", "\n", "yes", "ye")
        ),
        st.sampled_from((*SPELLED, *ODD)),
        st.text(max_size=8),
    ),
    max_size=12,
).map("".join)


@given(NAMES, st.sampled_from((None, *SOURCES)), TEXT)
def test_no_text_becomes_a_special_token(name: str, source: str | None, text: str) -> None:
    loaded, tokenizer = vocabulary(name), tokenizer_of(name, source, 0)
    spelled = text + "".join(loaded.special[token] for token in sorted(loaded.special)[:3])
    for shown in (text, spelled):
        try:
            ids = tokenizer.encode(shown)
        except TemplateError:
            # The template trims the message, and there was nothing else in it.
            assert not shown.strip()
            continue
        control = [int(token) for token in ids if int(token) in loaded.control]
        assert control == [int(t) for t in tokenizer.encode("x") if int(t) in loaded.control]
        bos, added = loaded.tokenizer.bos
        assert (ids == bos).sum() <= 1
        assert not added or ids[0] == bos
        whole = loaded.spelled(ids[1:] if added else ids)
        expected = tokenizer.rendered(shown).removeprefix(
            loaded.special.get(bos, "\0") if added else "\0"
        )
        if not any(left or right for left, right in tokenizer._strips.values()):
            assert whole.removeprefix(" ") == expected.replace("\u2581", " ").removeprefix(" ")


@given(NAMES, st.sampled_from((None, *SOURCES)), TEXT)
def test_both_ways_to_tokenise_agree(name: str, source: str | None, text: str) -> None:
    tokenizer = tokenizer_of(name, source, 0)
    if tokenizer._special.search(text) or not text.strip():
        return
    joint = tokenizer.tokenizer.encode(tokenizer.rendered(text), parse_special=True)
    apart = tokenizer._encode_literally([tokenizer.before, tokenizer._shown(text), tokenizer.after])
    assert apart.tolist() == joint.tolist()


@given(NAMES, st.sampled_from((None, *SOURCES)), st.integers(0, len(PROTOCOLS) - 1), TEXT)
def test_answers_continue_their_prompt(
    name: str, source: str | None, protocol: int, text: str
) -> None:
    tokenizer = tokenizer_of(name, source, protocol)
    asked: Protocol = tokenizer.protocol
    try:
        ids = tokenizer.encode(text)
        found = tokenizer.answers(text, ids)
    except TemplateError:
        assert not text.strip()
        return
    except ModelError:
        # Right behind a text that merges with every form, none can be told apart.
        assert source == SOURCES[-1]
        return
    assert 0 <= found.keep <= len(ids)
    texts = chain.from_iterable(asked.answers.values())
    fresh = find_forms(asked, ids, {form: tokenizer.encode(text, form) for form in texts})
    assert (found.keep, found.forms) == (fresh.keep, fresh.forms)
    for form in found.forms:
        joint = tokenizer.encode(text, form.text)
        assert joint[: found.keep].tolist() == ids[: found.keep].tolist()
        assert tuple(joint[found.keep :][: len(form.tokens)].tolist()) == form.tokens
        assert form.tokens
        if asked.reading == "first_token":
            assert len(form.tokens) == 1
        else:
            assert len(joint) == found.keep + len(form.tokens)
    owners = {form.tokens: form.answer for form in found.forms}
    assert len(owners) == len(found.forms)
    assert set(owners.values()) == set(asked.answers)
