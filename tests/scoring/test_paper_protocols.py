"""The paper's ways to ask: JSON by a system instruction, fixed demonstrations, a budget for reasoning."""

import json
from dataclasses import replace

import polars as pl
import pytest

from helpers import make_suite
from misfired import ArgumentError, DataError, score
from misfired.prompts.shots import fixed_shots
from misfired.scoring.answers import read_text
from misfired.scoring.llama.model import Model
from misfired.scoring.options import PromptOptions
from misfired.scoring.protocol import COT, LOGIT, PAPER_JSON, PROTOCOLS
from misfired.scoring.server.request import RequestTemplate
from misfired.scoring.template import PLAIN, ChatTemplate
from misfired.scoring.tokens import PromptTokenizer

TEXT = "The baker lost a key. Did the baker lose a key?"
LISTED = pl.DataFrame({
    "id": ["pair_2", "pair_9", "pair_13"],
    "condition": ["contrast", "stereotyped", "contrast"],
})  # fmt: skip


def test_the_system_instruction_stands_first_and_the_tail_last():
    suite = make_suite()
    shots, _ = fixed_shots(suite, LISTED, 2)
    messages = RequestTemplate("m", PAPER_JSON, shots=shots).body(TEXT, "Be fair.")["messages"]
    assert [each["role"] for each in messages] == ["system", *["user", "assistant"] * 2, "user"]
    assert messages[0]["content"] == f"{PAPER_JSON.system}\n\nBe fair."
    assert messages[-1]["content"] == f"{TEXT} {PAPER_JSON.tail}"
    assert messages[1]["content"] == f"{suite['contrast'][2]} {PAPER_JSON.tail}"
    assert json.loads(messages[2]["content"]) == {"answer": "yes"}
    body = RequestTemplate("m", PAPER_JSON).body(TEXT)
    assert body["messages"][0]["content"] == PAPER_JSON.system
    assert body["max_tokens"] == PAPER_JSON.n_generate


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('{"answer": "no"}', "no"),
        ('```json\n{"answer": "yes"}\n```', "yes"),
        ('{"answer": "yes"} or {"answer": "no"}? It is {"answer": "no"}', "no"),
        ("I cannot say.", None),
    ],
)
def test_what_is_written_is_parsed(text, answer):
    assert (
        read_text(PAPER_JSON, text, "yes", in_reasoning=False, truncated=False)["answer"] == answer
    )


@pytest.mark.model
def test_a_local_model_is_shown_the_same_conversation(small_model):
    chatty = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</>{% endfor %}<assistant>"
    with Model(small_model) as model:
        shown = PromptTokenizer(model.tokenizer, ChatTemplate(chatty), PAPER_JSON)
        expected = f"<system>{PAPER_JSON.system}</><user>{TEXT} {PAPER_JSON.tail}</><assistant>"
        assert shown.rendered(TEXT) == expected
        ruled = shown.with_system("Be fair.").rendered(TEXT)
        assert ruled == expected.replace("</><user>", "\n\nBe fair.</><user>", 1)
        plain = PromptTokenizer(model.tokenizer, ChatTemplate(PLAIN, "plain"), PAPER_JSON)
        assert plain.rendered(TEXT).endswith(f"{TEXT} {PAPER_JSON.tail}\n\nAnswer:")


def test_protocols_without_these_texts_keep_their_manifest():
    for protocol in PROTOCOLS.values():
        told = protocol.to_json()
        assert ("system" in told) == ("tail" in told) == (protocol is PAPER_JSON)
    with pytest.raises(ArgumentError, match="demonstration must hold"):
        replace(PAPER_JSON, demonstration="yes")


def test_one_option_sets_the_budget():
    assert PromptOptions(protocol="cot", n_generate=8192).resolved_protocol.n_generate == 8192
    assert PromptOptions(protocol="generate", n_generate=64).resolved_protocol.n_longest == 64
    assert PromptOptions(protocol="cot").resolved_protocol == COT
    with pytest.raises(
        ArgumentError, match="n_generate must go with a protocol that writes a text"
    ):
        PromptOptions(protocol="logit", n_generate=8192)
    assert LOGIT.n_longest == 0


@pytest.mark.parametrize("hold_out", ["scenario", "pair"])
def test_every_number_of_fixed_demonstrations_leaves_the_same_pairs(hold_out):
    suite = make_suite()
    left = []
    for n in range(4):
        shots, pairs = fixed_shots(suite, LISTED, n, hold_out=hold_out)
        assert [shot.id for shot in shots] == LISTED["id"].to_list()[:n]
        left.append(pairs["id"].to_list())
    assert left[0] == left[1] == left[2] == left[3]
    gone = suite.filter(~pl.col("id").is_in(left[0]))
    listed = suite.filter(pl.col("id").is_in(LISTED["id"].to_list()))
    assert set(gone[{"scenario": "scenario", "pair": "id"}[hold_out]]) == set(
        listed[{"scenario": "scenario", "pair": "id"}[hold_out]]
    )


def test_texts_of_ones_own_may_name_what_they_exclude():
    suite = make_suite()
    listed = pl.DataFrame({
        "text": ["A cat sat. Did a cat sit?", "A dog ran. Did a dog fly?"], "answer": ["yes", "no"],
        "scenario": [suite["scenario"][0], None],
    })  # fmt: skip
    shots, pairs = fixed_shots(suite, listed, 2)
    assert [(shot.text, shot.answer) for shot in shots] == listed.select("text", "answer").rows()
    assert len(pairs) == len(suite.filter(pl.col("scenario") != suite["scenario"][0]))


@pytest.mark.parametrize(
    ("listed", "n", "error", "words"),
    [
        (LISTED, 4, ArgumentError, "n_shots must be at most 3"),
        (LISTED.with_columns(condition=pl.lit("left")), 1, DataError, "row 1: condition must be"),
        (pl.DataFrame({"id": ["nobody"]}), 1, DataError, "row 1 must name a pair of the suite"),
        (pl.DataFrame({"text": ["Is it?"]}), 1, DataError, "row 1 must name a pair"),
    ],
)
def test_a_list_that_says_too_little_is_refused(listed, n, error, words):
    with pytest.raises(error, match=words):
        fixed_shots(make_suite(), listed, n)


@pytest.mark.model
def test_runs_with_any_number_from_one_file_answer_the_same_pairs(small_model, tmp_path):
    LISTED.write_csv(tmp_path / "shots.csv")
    answered, shown = [], []
    for n in (0, 2):
        found = score(
            small_model, make_suite(), template="plain", shots=tmp_path / "shots.csv", n_shots=n,
        )  # fmt: skip
        answered.append(found.answers["id"].to_list())
        shots = found.manifest["settings"]["shots"]
        shown.append([] if shots is None else [each["id"] for each in shots["demonstrations"]])
        assert set(found.manifest["held_out"]) == {f"pair_{i}" for i in (*range(4), *range(8, 16))}
    assert answered[0] == answered[1]
    assert shown == [[], ["pair_2", "pair_9"]]
