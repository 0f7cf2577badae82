"""Random-weight models: each architecture loads in llama.cpp and answers differently by prompt."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gguf
import llama_cpp
import numpy as np
import pytest

from plain_llama import load
from random_model import ARCHITECTURES, make_model
from vocabulary import (
    CAPITALISED,
    CHAT_TEMPLATE,
    SPECIAL_TOKENS,
    WORDS,
    builtin_tokenizer,
    byte_symbols,
)

TOOL = Path(__file__).parents[2] / "tools" / "random_model.py"

VOCABULARIES = {
    "llama": "llama-bpe",
    "mistral": "llama-spm",
    "qwen2": "qwen2",
    "qwen3": "qwen2",
    "gemma2": "llama-spm",  # there is no vocabulary of Gemma to be had
    "gemma3": "llama-spm",
    "phi3": "phi-3",
    "gpt2": "gpt-2",
}
LONG = (
    "A nurse and an engineer met at the station. The engineer said that she had found the road, "
    "and the nurse said that he had lost his way in the city. Question: was it the nurse who had "
    "lost the way? Answer yes or no. Answer:"
)


class Model:
    """A GGUF opened through llama.cpp's own API, one prompt at a time."""

    def __init__(self, path: Path, *, vocab_only: bool = False) -> None:
        self.model = load(path, vocab_only=vocab_only)
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)
        self.n_vocab = llama_cpp.llama_vocab_n_tokens(self.vocab)

    def tokens(self, text: str, *, special: bool = False) -> list[int]:
        raw = text.encode()
        ids = (llama_cpp.llama_token * (len(raw) + 8))()
        n = llama_cpp.llama_tokenize(self.vocab, raw, len(raw), ids, len(ids), True, special)
        return list(ids[:n])

    def logits(self, tokens: list[int]) -> np.ndarray:
        """Logits after the last token."""
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = 256
        parameters.flash_attn_type = 0
        context = llama_cpp.llama_init_from_model(self.model, parameters)
        try:
            ids = (llama_cpp.llama_token * len(tokens))(*tokens)
            batch = llama_cpp.llama_batch_get_one(ids, len(tokens))
            assert llama_cpp.llama_decode(context, batch) == 0
            row = llama_cpp.llama_get_logits_ith(context, -1)
            return np.ctypeslib.as_array(row, (self.n_vocab,)).copy()
        finally:
            llama_cpp.llama_free(context)

    def chat_template(self) -> str | None:
        text = llama_cpp.llama_model_chat_template(self.model, None)
        return None if text is None else text.decode()


@contextmanager
def opened(path: Path, *, vocab_only: bool = False) -> Iterator[Model]:
    model = Model(path, vocab_only=vocab_only)
    try:
        yield model
    finally:
        llama_cpp.llama_model_free(model.model)


def assert_answers_by_prompt(path: Path) -> None:
    """Logits are finite, of ordinary size, and depend on each token and on their order."""
    with opened(path) as model:
        tokens = model.tokens(LONG)[:40]
        assert len(tokens) == 40
        logits = model.logits(tokens)
        other_order = model.logits([tokens[0], *tokens[38:0:-1], tokens[39]])
        other_start = model.logits([tokens[0], tokens[3], *tokens[2:]])
    assert np.isfinite(logits).all()
    assert 1 < logits.std() < 5
    assert np.abs(logits).max() < 30
    assert np.abs(logits - other_order).max() > 0.5
    assert np.abs(logits - other_start).max() > 1e-3


@pytest.mark.model
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_architecture_answers_by_prompt(arch: str, tmp_path: Path) -> None:
    assert_answers_by_prompt(make_model(tmp_path / "m.gguf", arch, n_layer=3))


@pytest.mark.model
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_architecture_with_real_vocabulary(arch: str, tmp_path: Path, test_data: Path) -> None:
    vocab = test_data / "vocab" / f"ggml-vocab-{VOCABULARIES[arch]}.gguf"
    assert_answers_by_prompt(make_model(tmp_path / "m.gguf", arch, vocab=vocab))


@pytest.mark.parametrize("quantisation", ["f32", "f16", "q8_0", "q4_K"])
def test_same_seed_same_bytes(quantisation: str, tmp_path: Path) -> None:
    def made(name: str, seed: int) -> bytes:
        path = make_model(
            tmp_path / name, "qwen3", n_embd=256, n_ff=256, quantisation=quantisation, seed=seed
        )
        return path.read_bytes()

    first = made("a.gguf", 7)
    assert made("b.gguf", 7) == first
    assert made("c.gguf", 8) != first
    assert {p.name for p in tmp_path.iterdir()} == {"a.gguf", "b.gguf", "c.gguf"}


@pytest.mark.model
@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize(
    ("quantisation", "correlation"), [("f16", 0.9999), ("q8_0", 0.99), ("q4_K", 0.8)]
)
def test_quantisation_rounds_the_same_weights(
    arch: str, quantisation: str, correlation: float, tmp_path: Path
) -> None:
    logits = {}
    for kind in ("f32", quantisation):
        path = make_model(tmp_path / f"{kind}.gguf", arch, n_embd=256, n_ff=256, quantisation=kind)
        with opened(path) as model:
            logits[kind] = model.logits(model.tokens(LONG)[:40])
    assert not np.array_equal(logits[quantisation], logits["f32"])
    assert np.corrcoef(logits[quantisation], logits["f32"])[0, 1] > correlation


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_weights_are_of_the_stated_kind(arch: str, tmp_path: Path) -> None:
    reader = gguf.GGUFReader(make_model(tmp_path / "m.gguf", arch, quantisation="q8_0"))
    for tensor in reader.tensors:
        is_vector = len(tensor.shape) == 1 or tensor.name == "position_embd.weight"
        assert tensor.tensor_type.name == ("F32" if is_vector else "Q8_0"), tensor.name
        if "norm.weight" in tensor.name:
            assert np.ptp(tensor.data) > 0
    names = {tensor.name for tensor in reader.tensors}
    assert ("output.weight" in names) == (arch in {"llama", "mistral", "phi3"})
    assert ("blk.1.attn_q_norm.weight" in names) == (arch in {"qwen3", "gemma3"})
    assert ("blk.1.post_ffw_norm.weight" in names) == (arch in {"gemma2", "gemma3"})
    assert ("blk.1.attn_qkv.weight" in names) == (arch in {"phi3", "gpt2"})
    assert ("blk.1.attn_q.bias" in names) == (arch == "qwen2")
    assert (f"{ARCHITECTURES[arch].gguf}.attention.key_length" in reader.fields) == (
        arch in {"qwen3", "gemma2", "gemma3"}
    )


def test_gemma2_states_its_soft_caps(tmp_path: Path) -> None:
    fields = gguf.GGUFReader(make_model(tmp_path / "m.gguf", "gemma2")).fields
    assert fields["gemma2.attn_logit_softcapping"].contents() == 50
    assert fields["gemma2.final_logit_softcapping"].contents() == 30


@pytest.mark.model
@pytest.mark.parametrize(
    ("arch", "n_layer", "reaches"), [("gemma2", 1, False), ("gemma2", 2, True), ("gemma3", 2, True)]
)
def test_sliding_window_is_used(arch: str, n_layer: int, reaches: bool, tmp_path: Path) -> None:
    """A token out of the window counts only where a global layer follows the sliding one."""
    path = make_model(tmp_path / "m.gguf", arch, n_layer=n_layer, sliding_window=4)
    with opened(path) as model:
        tokens = model.tokens(LONG)[:40]
        change = model.logits(tokens) - model.logits([*tokens[:5], tokens[9], *tokens[6:]])
    assert (np.abs(change).max() > 1e-3) == reaches


@pytest.mark.model
@pytest.mark.parametrize("head_dim", [8, 48])
@pytest.mark.parametrize("arch", ["llama", "mistral", "qwen3", "gemma2", "gemma3"])
def test_head_dim_is_free(arch: str, head_dim: int, tmp_path: Path) -> None:
    assert_answers_by_prompt(make_model(tmp_path / "m.gguf", arch, head_dim=head_dim, n_head_kv=1))


def test_tied_drops_the_output_rows(tmp_path: Path) -> None:
    def names(*, tied: bool) -> set[str]:
        path = make_model(tmp_path / "m.gguf", "llama", tied=tied)
        return {tensor.name for tensor in gguf.GGUFReader(path).tensors}

    assert names(tied=False) - names(tied=True) == {"output.weight"}


def test_vocabulary_is_copied_whole(tmp_path: Path, test_data: Path) -> None:
    """gguf's own reader finds the same tokenizer in the file that was made."""
    source = test_data / "vocab" / "ggml-vocab-phi-3.gguf"
    before, after = (
        {k: f for k, f in gguf.GGUFReader(path).fields.items() if k.startswith("tokenizer.")}
        for path in (source, make_model(tmp_path / "m.gguf", "llama", vocab=source, n_layer=1))
    )
    assert before.keys() == after.keys()
    for key, field in before.items():
        assert field.types == after[key].types, key
        assert field.contents() == after[key].contents(), key


@pytest.mark.model
@pytest.mark.parametrize("vocabulary", ["llama-bpe", "gpt-2", "qwen2"])
def test_vocabulary_tokenises_as_its_source(
    vocabulary: str, tmp_path: Path, test_data: Path
) -> None:
    source = test_data / "vocab" / f"ggml-vocab-{vocabulary}.gguf"
    text = LONG + " <|im_start|><|eot_id|> Grüße, 東京 1234567"
    made = make_model(tmp_path / "m.gguf", "qwen2", vocab=source, n_layer=1)
    with opened(source, vocab_only=True) as original, opened(made) as model:
        assert model.tokens(text) == original.tokens(text)
        assert model.tokens(text, special=True) == original.tokens(text, special=True)


@pytest.mark.model
def test_builtin_vocabulary(tmp_path: Path) -> None:
    with opened(make_model(tmp_path / "m.gguf", "llama")) as model:
        for word in ("yes", "no", "Yes", "No", *WORDS.split(), *CAPITALISED.split()):
            assert len(model.tokens(f" {word}")) == 1, word
        for word in ("yes", "no", "Yes", "No", "Answer", *SPECIAL_TOKENS):
            assert len(model.tokens(word, special=True)) == 1, word
        assert len(model.tokens("<|user|>")) > 1
        unseen = "Grüße, 東京\n\t1234567 \x00 xylophone"
        raw = bytes(b"".join(piece_bytes(token) for token in model.tokens(unseen)))
        assert raw.decode() == unseen
        assert model.chat_template() == CHAT_TEMPLATE


def piece_bytes(token: int) -> bytes:
    """A token's bytes by the table of the built-in vocabulary, without llama.cpp."""
    symbols = builtin_tokenizer()["tokenizer.ggml.tokens"].value
    byte_of = {symbol: byte for byte, symbol in byte_symbols().items()}
    return bytes(byte_of[symbol] for symbol in symbols[token])


@pytest.mark.model
def test_chat_template(tmp_path: Path) -> None:
    template = "{{ messages[0]['content'] }} Grüße"
    with opened(make_model(tmp_path / "a.gguf", "llama", chat_template=template)) as model:
        assert model.chat_template() == template
    with opened(make_model(tmp_path / "b.gguf", "llama", chat_template="")) as model:
        assert model.chat_template() is None


@pytest.mark.parametrize(
    ("arch", "options", "message"),
    [
        ("mamba", {}, "arch is 'mamba'; it must be one of llama"),
        ("llama", {"quantisation": "q5_1"}, "quantisation is 'q5_1'; it must be one of f32"),
        ("llama", {"seed": -1}, "seed is -1; it must be at least 0"),
        ("llama", {"n_layer": 0}, "n_layer is 0; it must be at least 1"),
        ("llama", {"n_head": 0}, "n_head is 0; it must be at least 1"),
        ("llama", {"n_head": 5}, "n_head is 5; it must divide n_embd = 64"),
        ("llama", {"n_head_kv": 3}, "n_head_kv is 3; it must divide n_head = 4"),
        ("llama", {"head_dim": 7}, "head_dim is 7; it must be even"),
        ("llama", {"scale": 0.0}, "scale is 0.0; it must be positive"),
        ("gpt2", {"n_head_kv": 2}, "n_head_kv is 2; gpt2 needs n_head = 4"),
        ("phi3", {"head_dim": 32}, "head_dim is 32; phi3 needs n_embd / n_head = 16"),
        ("gemma3", {"tied": False}, "tied is False; the output rows of gemma3"),
        ("gemma2", {"sliding_window": 0}, "sliding_window is 0; it must be at least 1"),
        (
            "llama",
            {"quantisation": "q8_0", "n_ff": 100},
            "n_ff is 100; q8_0 needs a multiple of 32",
        ),
        ("llama", {"quantisation": "q4_K"}, "n_embd is 64; q4_K needs a multiple of 256"),
    ],
)
def test_bad_arguments(arch: str, options: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        make_model(tmp_path / "m.gguf", arch, **options)
    assert not list(tmp_path.iterdir())


def test_bad_vocabulary(tmp_path: Path) -> None:
    def make(vocab: Path) -> None:
        make_model(tmp_path / "m.gguf", "llama", vocab=vocab)

    with pytest.raises(FileNotFoundError, match=r"missing\.gguf"):
        make(tmp_path / "missing.gguf")
    text = tmp_path / "text.gguf"
    text.write_text("hello")
    with pytest.raises(ValueError, match=r"text\.gguf: not a GGUF file \(it begins with b'hell'\)"):
        make(text)
    bare = tmp_path / "bare.gguf"
    writer = gguf.GGUFWriter(bare, "llama")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(ValueError, match=r"bare\.gguf: holds no vocabulary"):
        make(bare)
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(make_model(tmp_path / "whole.gguf", "llama").read_bytes()[:900])
    with pytest.raises(ValueError, match=r"cut\.gguf: GGUF header cannot be read: "):
        make(cut)
    assert not (tmp_path / "m.gguf").exists()


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, TOOL, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_command(tmp_path: Path) -> None:
    template = tmp_path / "t.jinja"
    template.write_text("hello")
    out = tmp_path / "new" / "m.gguf"
    done = run(out, "--arch", "gpt2", "--n-layer", "1", "--chat-template", template)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out}: {out.stat().st_size:,} bytes\n"
    expected = make_model(tmp_path / "m.gguf", "gpt2", n_layer=1, chat_template="hello")
    assert out.read_bytes() == expected.read_bytes()


def test_command_error_is_one_line(tmp_path: Path) -> None:
    done = run(tmp_path / "m.gguf", "--arch", "llama", "--n-head", "5")
    assert done.returncode == 1
    assert done.stderr == "error: n_head is 5; it must divide n_embd = 64\n"
