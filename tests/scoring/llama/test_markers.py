"""A base model under its sibling's template: what it does not know is said."""

import numpy as np
import pytest
from gguf import GGUFReader

from helpers import make_suite
from misfired import TemplateError, score, write_suite
from misfired.runs.manifest import read_manifest
from misfired.scoring.llama.markers import complaint, describe, embeddings, find_markers
from misfired.scoring.llama.model import Model
from misfired.scoring.llama.session import template_for
from misfired.scoring.protocol import LOGIT
from misfired.scoring.tokens import PromptTokenizer
from random_model import make_model

pytestmark = pytest.mark.model


def edit_embedding(path, change) -> None:
    """Change the token embeddings of a GGUF file in place: `change` gets the matrix."""
    reader = GGUFReader(path, "r+")
    (tensor,) = (each for each in reader.tensors if each.name == "token_embd.weight")
    change(tensor.data)
    tensor.data.flush()


def markers_of(path, choice: str):
    with Model(path) as model:
        tokenizer = PromptTokenizer(model.tokenizer, template_for(model, choice), LOGIT)
        return {marker.text: marker for marker in find_markers(model, tokenizer)}


@pytest.fixture
def qwen(test_data, tmp_path):
    """An instruct model and its base, which has the same vocabulary and no template."""
    vocab = test_data / "vocab" / "ggml-vocab-qwen2.gguf"
    source = (test_data / "chat_templates" / "Qwen-Qwen2.5-7B-Instruct.jinja").read_text()
    return (
        make_model(tmp_path / "chat.gguf", "qwen2", vocab=vocab, chat_template=source, tied=False),
        make_model(tmp_path / "base.gguf", "qwen2", vocab=vocab, chat_template="", tied=False),
    )


@pytest.mark.parametrize("arch", ["llama", "gemma2", "gpt2"])
def test_embeddings_are_the_rows_of_the_file(arch, tmp_path) -> None:
    path = make_model(tmp_path / "m.gguf", arch)
    (tensor,) = (each for each in GGUFReader(path).tensors if each.name == "token_embd.weight")
    tokens = [3, 500, 7, *range(100, 170)]
    with Model(path) as model:
        assert np.array_equal(embeddings(model, tokens), tensor.data[tokens].astype(np.float64))


def test_a_siblings_template_asks_the_base_as_it_asks_the_sibling(qwen) -> None:
    chat, base = qwen
    with Model(chat) as model, Model(base) as other:
        own = PromptTokenizer(model.tokenizer, template_for(model), LOGIT)
        lent = PromptTokenizer(other.tokenizer, template_for(other, str(chat)), LOGIT)
        assert np.array_equal(own.encode("Is it so?"), lent.encode("Is it so?"))
    markers = markers_of(base, str(chat))
    assert list(markers) == ["<|im_start|>", "<|im_end|>"]
    assert all(marker.is_special and not marker.looks_untrained for marker in markers.values())
    assert complaint(describe(list(markers.values()))) is None


def test_tokens_without_training_are_named(qwen) -> None:
    chat, base = qwen
    with Model(base) as model:
        ids = {text: token for token, text, *_ in model.tokenizer.special_tokens()}
    start, end = ids["<|im_start|>"], ids["<|im_end|>"]

    def shrink(rows) -> None:
        rows[start] *= 0.2

    edit_embedding(base, shrink)
    markers = markers_of(base, str(chat))
    assert 0.1 < markers["<|im_start|>"].relative_norm < 0.3
    assert markers["<|im_start|>"].looks_untrained
    assert not markers["<|im_end|>"].looks_untrained

    def same(rows) -> None:
        rows[start] = rows[end]

    edit_embedding(base, same)
    described = describe(list(markers_of(base, str(chat)).values()))
    assert described["n_untrained"] == 2
    assert "of 2 markers 2 with embeddings that look untrained (<|im_start|> <|im_end|>)" in (
        complaint(described) or ""
    )


def test_markers_that_the_vocabulary_lacks_are_named(qwen, test_data, tmp_path) -> None:
    chat, _ = qwen
    vocab = test_data / "vocab" / "ggml-vocab-gpt-2.gguf"
    stranger = make_model(tmp_path / "gpt2.gguf", "gpt2", vocab=vocab)
    scores = score(stranger, make_suite(8), template=str(chat))
    described = scores.manifest["template_markers"]
    assert described["n_spelled_out"] == 2
    assert all(row["n_tokens"] > 1 for row in described["markers"])
    assert "2 spelled out in ordinary tokens" in (complaint(described) or "")
    assert scores.manifest["settings"]["template"]["name"] == str(chat)


def test_a_jinja_file_tells_its_markers_by_their_looks(small_model, tmp_path) -> None:
    path = tmp_path / "t.jinja"
    path.write_text("[INST] {{ messages[0]['content'] }} [/INST]<start_of_turn>x<|eot_id|>\n")
    markers = markers_of(small_model, str(path))
    assert list(markers) == ["[INST]", "[/INST]", "<start_of_turn>", "<|eot_id|>"]
    assert not any(marker.is_special for marker in markers.values())


def test_a_sibling_without_a_template_is_refused(small_model, test_data) -> None:
    vocabulary = test_data / "vocab" / "ggml-vocab-gpt-2.gguf"
    with Model(small_model) as model, pytest.raises(TemplateError, match="has no chat template"):
        template_for(model, str(vocabulary))


def test_several_templates_give_a_run_each(qwen, tmp_path, misfired) -> None:
    chat, base = qwen
    write_suite(make_suite(8), tmp_path / "pairs.parquet")
    done = misfired(
        *("run", base, chat, "--suite", tmp_path / "pairs.parquet", "--template", f"plain,{chat}"),
        *("-o", tmp_path / "runs", "--priming", "none", "--n-resamples", 100),
    )
    assert done.code == 0
    folders = sorted(folder.name for folder in (tmp_path / "runs").iterdir())
    assert folders == ["base-chat", "base-plain", "chat-chat", "chat-plain"]
    read = {name: read_manifest(tmp_path / "runs" / name).settings.template for name in folders}
    assert read["chat-plain"].name == "plain"
    assert read["base-chat"].sha256 == read["chat-chat"].sha256
