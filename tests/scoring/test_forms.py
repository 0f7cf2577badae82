"""Answer forms of any length: disjoint, equal to one-by-one scoring, adding up to 1."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import MakeModel, prompts_of
from misfired.errors import DataError, ModelError
from misfired.runs.pipeline import score
from misfired.scoring.answers import read_answer
from misfired.scoring.forms import AnswerTokens, find_forms
from misfired.scoring.llama.engine import Engine, answer_all
from misfired.scoring.llama.invariance import choose_packing
from misfired.scoring.llama.model import Model
from misfired.scoring.llama.session import calibrate, open_context, prepare, template_for
from misfired.scoring.options import DecodingOptions
from misfired.scoring.protocol import LOGIT, WHOLE
from misfired.scoring.tokens import PromptTokenizer
from reference.form_events import form_probabilities
from reference.plain_scorer import PlainScorer

N_VOCAB = 3

#: Forms of one and of several tokens, some of which begin like others.
LONG = WHOLE.with_answers(
    {
        "yes": (" Yes", " Yes, indeed", " of course it is"),
        "no": (" No", " no way", " not at all"),
        "unknown": (" not known", " No one can tell"),
    }
)


@st.composite
def answer_forms(draw: st.DrawFn) -> dict[str, list[tuple[int, ...]]]:
    token = st.integers(0, N_VOCAB - 1)
    form = st.lists(token, min_size=1, max_size=4).map(tuple)
    forms = draw(st.lists(form, min_size=2, max_size=8, unique=True))
    cut = draw(st.integers(1, len(forms) - 1))
    return {"yes": forms[:cut], "no": forms[cut:]}


def as_tokens(forms: dict[str, list[tuple[int, ...]]]) -> AnswerTokens:
    prompt = [9, 9]
    texts = {answer: tuple(map(str, rows)) for answer, rows in forms.items()}
    joint = {
        str(row): np.array([*prompt, *row], np.int32) for rows in forms.values() for row in rows
    }
    return find_forms(WHOLE.with_answers(texts), np.array(prompt, np.int32), joint)


@given(answer_forms(), st.integers(0, 2**32 - 1))
def test_forms_are_disjoint_and_add_up(forms: dict[str, list[tuple[int, ...]]], seed: int) -> None:
    try:
        found = as_tokens(forms)
    except ModelError:
        # Every form of one answer would extend another form of the same answer, which cannot be.
        raise AssertionError from None

    def next_token(prefix: tuple[int, ...]) -> np.ndarray:
        rng = np.random.default_rng([seed, len(prefix), *prefix])
        return rng.dirichlet(np.ones(N_VOCAB))

    kept = [form.tokens for form in found.forms]
    expected, rest = form_probabilities(kept, next_token, N_VOCAB)
    read = {
        (path, token): math.log(next_token(path)[token])
        for path, wanted in found.nodes
        for token in wanted
    }
    logp = found.log_probabilities(read)
    assert np.exp(logp) == pytest.approx(expected, abs=1e-12)
    assert sum(np.exp(logp)) + rest == pytest.approx(1.0, abs=1e-12)
    # What was dropped because a shorter form of the same answer holds it changes no answer's total.
    every = [row for rows in forms.values() for row in rows]
    whole, _ = form_probabilities(every, next_token, N_VOCAB)
    for answer, rows in forms.items():
        own = sum(p for p, row in zip(whole, every, strict=True) if row in rows)
        total = sum(np.exp(logp[i]) for i, f in enumerate(found.forms) if f.answer == answer)
        assert total == pytest.approx(own, abs=1e-12)


def test_first_tokens_that_two_answers_share_are_dropped() -> None:
    joint = {
        text: np.array([1, *row], np.int32)
        for text, row in {"yes": [5], "yeah": [6, 7], "no": [8], "nay": [6, 9]}.items()
    }
    protocol = LOGIT.with_answers({"yes": ("yes", "yeah"), "no": ("no", "nay")})
    found = find_forms(protocol, np.array([1], np.int32), joint)
    assert found.ids == {"yes": [5], "no": [8]}
    assert found.dropped == ["yeah", "nay"]


def test_forms_that_cannot_be_told_apart_are_an_error() -> None:
    joint = {text: np.array([1, 5], np.int32) for text in ("yes", "no")}
    protocol = WHOLE.with_answers({"yes": ("yes",), "no": ("no",)})
    with pytest.raises(ModelError, match="'yes' must have a form that begins with"):
        find_forms(protocol, np.array([1], np.int32), joint)


def test_three_answers_and_a_tie() -> None:
    logp = {"A": np.log([0.5]), "B": np.log([0.2, 0.1]), "C": np.log([0.2])}
    row = read_answer(logp, "A")
    assert (row["answer"], row["outcome"]) == ("A", "correct")
    assert row["margin"] == pytest.approx(math.log(0.5 / 0.2))
    assert row["logp_B"] == pytest.approx(math.log(0.3))
    assert row["mass"] == pytest.approx(1.0)
    tied = read_answer({"A": np.log([0.3]), "B": np.log([0.3]), "C": np.log([0.2])}, "C")
    assert (tied["answer"], tied["reason"]) == (None, "tie between A and B")


def suite(n: int = 8, expected: str = "yes") -> pl.DataFrame:
    people = ["the old man", "the woman", "his friend", "the worker"]
    rows = [
        {
            "id": f"p{i}",
            "suite": "test@1",
            "category": "Age",
            "scenario": f"s{i // 4}",
            "stereotyped": f"{people[i % 4]} left at {i}. Was it {people[i % 4]}?",
            "contrast": f"{people[(i + 1) % 4]} left at {i}. Was it {people[i % 4]} who left?",
            "expected_stereotyped": expected,
            "expected_contrast": expected,
        }
        for i in range(n)
    ]
    return pl.DataFrame(rows)


@pytest.mark.model
@pytest.mark.parametrize("arch", ["llama", "mistral", "qwen2", "phi3", "gpt2"])
@pytest.mark.parametrize("normalisation", ["sum", "per_token", "per_byte", "unconditional"])
def test_long_forms_equal_scoring_one_by_one(
    arch: str, normalisation: str, real_vocabulary_model: MakeModel
) -> None:
    check_one_by_one(real_vocabulary_model(arch), replace(LONG, normalisation=normalisation))


@pytest.mark.model
def test_long_forms_with_the_builtin_vocabulary(small_model: Path) -> None:
    check_one_by_one(small_model, LONG)


def check_one_by_one(path: Path, protocol) -> None:
    pairs = suite()
    texts = [*pairs["stereotyped"], *pairs["contrast"]]
    with Model(path) as model:
        tokenizer = PromptTokenizer(model.tokenizer, template_for(model, "plain"), protocol)
        job = prepare(tokenizer, prompts_of(texts))
        with open_context(model, job, DecodingOptions()) as context:
            job = calibrate(context, job)
            packing = choose_packing(context, job, DecodingOptions()).packing
            engine = Engine(context, job, packing=packing)
            rows = answer_all(engine)
            packed = {row: (measured, engine.logp[row]) for row, measured in rows.items()}
    plain = PlainScorer(path)
    base = (
        one_by_one(plain, job.content_free.ids, job.content_free.answers)
        if job.content_free
        else None
    )
    for row in job.prompts:
        ids, found = job.prompts[row].ids, job.prompts[row].answers
        assert any(len(form.tokens) > 2 for form in found.forms)
        alone, rest = one_by_one(plain, ids, found)
        measured, logp = packed[row]
        assert logp == pytest.approx(alone, abs=1e-5)
        assert measured["mass"] + rest == pytest.approx(1.0, abs=1e-6)
        scores = {}
        for index, form in enumerate(found.forms):
            length = {"per_token": len(form.tokens), "per_byte": len(form.text.encode())}
            value = alone[index] / length.get(protocol.normalisation, 1)
            if base is not None:
                texts_of_base = [f.text for f in job.content_free.answers.forms]
                value -= base[0][texts_of_base.index(form.text)]
            scores[form.answer] = max(scores.get(form.answer, -math.inf), value)
        ranked = sorted(scores.values(), reverse=True)
        assert measured["margin"] == pytest.approx(ranked[0] - ranked[1], abs=2e-5)
        if ranked[0] - ranked[1] > 1e-4:
            assert measured["answer"] == max(scores, key=scores.__getitem__)
    plain.close()


def one_by_one(
    plain: PlainScorer, ids: np.ndarray, found: AnswerTokens
) -> tuple[list[float], float]:
    """Each form's probability, and that of everything else, from whole rows of log-probabilities."""
    forms = [form.tokens for form in found.forms]
    rows = {
        path: np.asarray(plain.logp([*ids.tolist(), *path]), dtype=np.float64)
        for path, _ in found.nodes
    }
    raw = [sum(rows[form[:k]][token] for k, token in enumerate(form)) for form in forms]
    reach = {path: sum(rows[path[:k]][t] for k, t in enumerate(path)) for path in rows}
    rest = 0.0
    for path, row in rows.items():
        inside = any(path[: len(form)] == form for form in forms)
        if not inside:
            left = np.ones(len(row), bool)
            left[[form[len(path)] for form in forms if form[: len(path)] == path != form]] = False
            rest += math.exp(reach[path]) * np.exp(row[left]).sum()
    disjoint = []
    for form, value in zip(forms, raw, strict=True):
        longer = [
            raw[i]
            for i, other in enumerate(forms)
            if len(other) > len(form)
            and other[: len(form)] == form
            and max((f for f in forms if f != other and other[: len(f)] == f), key=len) == form
        ]
        disjoint.append(math.log(math.exp(value) - sum(map(math.exp, longer))))
    return disjoint, rest


@pytest.mark.model
def test_any_answer_set_through_score(small_model: Path) -> None:
    protocol = replace(LONG, name="three")
    scores = score(small_model, suite(expected="unknown"), protocol=protocol)
    answers = scores.answers
    assert {"logp_yes", "logp_no", "logp_unknown", "margin", "mass"} <= set(answers.columns)
    assert set(answers["answer"]) <= {"yes", "no", "unknown"}
    assert answers["mass"].is_between(0, 1).all()
    assert scores.manifest["batch_invariance"]["max_difference"] < 1e-5


@pytest.mark.model
def test_json_scores_behind_the_opened_answer(small_model: Path) -> None:
    scores = score(small_model, suite(), protocol="json")
    assert scores.manifest["example_prompt"].endswith('<|assistant|>\n{"answer": "')
    assert scores.answers["logit_diff"].is_not_null().all()


@pytest.mark.model
def test_an_expected_answer_outside_the_set_is_named(small_model: Path) -> None:
    with pytest.raises(
        DataError, match=r"p0 .*expected answer must be one of .*yes, no.*got 'maybe'"
    ):
        score(small_model, suite(expected="maybe"))
