"""Whatever is wrong with a model, a template or a prompt is said in one line that names it."""

import hashlib
import os
from functools import partial

import polars as pl
import pytest

from helpers import make_suite
from misfired import ArgumentError, ModelError, TemplateError, score
from misfired.scoring.llama.model import Model
from misfired.scoring.llama.session import template_for
from misfired.scoring.model_file import model_sha256
from misfired.scoring.protocol import Protocol
from random_model import make_model

pytestmark = pytest.mark.model


def test_no_such_file(tmp_path) -> None:
    with pytest.raises(ModelError, match=r"nowhere\.gguf: no such model file"):
        Model(tmp_path / "nowhere.gguf")


def test_not_a_gguf(tmp_path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"PK\x03\x04 a zip file of some length")
    with pytest.raises(ModelError, match=r"a\.gguf: not a GGUF file \(it begins with b'PK"):
        Model(tmp_path / "a.gguf")


@pytest.mark.parametrize("keep", [4, 23, 3000, 60_000, -1])
def test_a_truncated_gguf(small_model, tmp_path, keep: int) -> None:
    whole = small_model.read_bytes()
    (tmp_path / "cut.gguf").write_bytes(whole[:keep])
    with pytest.raises(ModelError, match=r"cut\.gguf: (truncated GGUF|llama\.cpp cannot load)"):
        Model(tmp_path / "cut.gguf")


def test_a_vocabulary_without_weights(test_data) -> None:
    with pytest.raises(ModelError, match="a vocabulary without weights"):
        Model(test_data / "vocab" / "ggml-vocab-gpt-2.gguf")


def test_no_chat_template(tmp_path) -> None:
    path = make_model(tmp_path / "base.gguf", "llama", chat_template="")
    with pytest.raises(TemplateError, match="no chat template; name one: --template plain"):
        score(path, make_suite())
    assert len(score(path, make_suite(), template="plain").answers) == 48


def test_a_prompt_longer_than_the_context(small_model) -> None:
    with pytest.raises(
        ArgumentError,
        match=r"prompt pair_0 \(none, stereotyped\) must have at most 32 tokens, which n_ctx 64 leaves",
    ):
        score(small_model, make_suite(), n_ctx=64)


def test_a_prompt_longer_than_the_model_was_trained_for(tmp_path) -> None:
    path = make_model(tmp_path / "short.gguf", "llama", n_ctx_train=32)
    with pytest.raises(
        ArgumentError,
        match=r"must have at most 32 tokens, .* for which the model was trained, got \d+",
    ):
        score(path, make_suite())


def test_an_answer_form_that_cannot_be_told_apart(small_model) -> None:
    forms = {"yes": ("yes", "yes, indeed"), "no": ("yes, but no",)}
    with pytest.raises(
        ModelError, match=r"answer 'yes' must have a form .*, got 'yes', 'yes, indeed'"
    ):
        score(small_model, make_suite(), protocol=Protocol("own", "1", "", forms))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"mode": "precise"}, "mode must be one of exact, stable, fast, got 'precise'"),
        ({"protocol": "oracle"}, "protocol must be logit, .*, got 'oracle'"),
        ({"priming": ["hint"]}, "priming must be none, cue, .*, got 'hint'"),
        ({"n_batch": 0}, "n_batch must be at least 4, got 0"),
        ({"n_threads": 0}, "n_threads must be in 1 to 512, got 0"),
        ({"n_threads": 513}, "n_threads must be in 1 to 512, got 513"),
        ({"n_batch": 2}, "n_batch must be at least 4, got 2"),
    ],
)
def test_options_out_of_range(small_model, option, message) -> None:
    with pytest.raises(ArgumentError, match=message):
        score(small_model, make_suite(), **option)


def test_a_pair_without_a_cue_is_counted_not_dropped(small_model) -> None:
    suite = make_suite().with_columns(
        cue=pl.when(pl.col("id") == "pair_3").then(None).otherwise(pl.col("cue"))
    )
    answers = score(small_model, suite, priming=["none", "cue"]).answers
    assert len(answers) == 3 * len(suite)
    (row,) = answers.filter(pl.col("outcome") == "error").to_dicts()
    assert (row["id"], row["priming"], row["condition"]) == ("pair_3", "cue", "stereotyped")
    assert row["reason"] == "the suite has no text for this priming"
    assert row["logit_diff"] is None


@pytest.mark.parametrize("missing", ["model", "suite"])
def test_the_command_says_it_in_one_line(misfired, small_model, tmp_path, missing) -> None:
    model = tmp_path / "none.gguf" if missing == "model" else small_model
    suite = tmp_path / "none.parquet"
    code, out, err = misfired("run", model, "--suite", suite, "-o", tmp_path / "run")
    assert code in {1, 2}
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_the_hash_of_a_split_model_is_over_all_parts(tmp_path) -> None:
    parts = [tmp_path / f"m-0000{n}-of-00002.gguf" for n in (1, 2)]
    for part, content in zip(parts, (b"one", b"two"), strict=True):
        part.write_bytes(content)
    assert model_sha256(parts[0]) == hashlib.sha256(b"onetwo").hexdigest()
    parts[1].write_bytes(b"other")
    assert model_sha256(parts[0]) == hashlib.sha256(b"oneother").hexdigest()
    assert model_sha256(parts[1]) == hashlib.sha256(b"other").hexdigest()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_template_in_any_encoding_is_the_same_template(
    small_model, tmp_path, encoding, end
) -> None:
    text = "{% for message in messages %}\n»{{ message.content }}\n{% endfor %}"
    (tmp_path / "plain.jinja").write_text(text, encoding="utf-8")
    (tmp_path / "other.jinja").write_bytes(text.replace("\n", end).encode(encoding))
    with Model(small_model) as model:
        plain, other = (
            template_for(model, str(tmp_path / f"{n}.jinja")) for n in ("plain", "other")
        )
    assert other.source == plain.source == text


@pytest.mark.parametrize("kind", ["a pipe", "a folder", "a device"])
def test_what_is_no_model_file_is_refused_at_once(tmp_path, kind) -> None:
    make = {"a pipe": os.mkfifo, "a folder": os.mkdir, "a device": partial(os.symlink, "/dev/zero")}
    make[kind](tmp_path / "it.gguf")
    with pytest.raises(ModelError, match=f"it.gguf: must be a file, got {kind}"):
        Model(tmp_path / "it.gguf")
