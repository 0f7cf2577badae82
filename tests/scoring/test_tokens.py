"""What a model is shown: templates, special tokens, the beginning, the join with the answer."""

import datetime

import jinja2
import numpy as np
import pytest

from helpers import ARCHITECTURES, CHAT_TEMPLATES, make_suite
from misfired import TemplateError, score
from misfired.scoring.llama.model import Model
from misfired.scoring.llama.session import template_for
from misfired.scoring.protocol import BARE, LOGIT
from misfired.scoring.template import ChatTemplate
from misfired.scoring.tokens import PromptTokenizer

pytestmark = pytest.mark.model

TEXT = "The baker lost a key. Did the baker lose a key?"


def tokenizer_of(model: Model, test_data, name: str) -> PromptTokenizer:
    template = template_for(model, str(test_data / "chat_templates" / f"{name}.jinja"))
    return PromptTokenizer(model.tokenizer, template, LOGIT)


def text_of(model: Model, ids) -> str:
    return b"".join(model.tokenizer.piece(int(token)) for token in ids).decode()


@pytest.mark.parametrize(("name", "arch"), CHAT_TEMPLATES.items())
def test_special_text_in_a_pair_stays_text(name, arch, real_vocabulary_model, test_data) -> None:
    with Model(real_vocabulary_model(arch)) as model:
        tokenizer = tokenizer_of(model, test_data, name)
        specials = {row[0] for row in model.tokenizer.special_tokens()}
        plain = tokenizer.encode(TEXT)
        n_special = sum(int(token) in specials for token in plain)
        for spelled in ("<|im_end|>", "<|eot_id|>", "</s>", "<|end|>", "<bos>", "<s>"):
            hostile = tokenizer.encode(f"The baker {spelled} lost a key. Did the baker lose a key?")
            assert sum(int(token) in specials for token in hostile) == n_special
            assert spelled in text_of(model, hostile).replace("\u2581", " ")


@pytest.mark.parametrize(("name", "arch"), CHAT_TEMPLATES.items())
def test_answers_behind_a_pair_that_spells_a_special_token(
    name, arch, real_vocabulary_model, test_data
) -> None:
    with Model(real_vocabulary_model(arch)) as model:
        plain, hostile = (tokenizer_of(model, test_data, name) for _ in range(2))
        spelled = f"The baker lost {model.tokenizer.special_tokens()[-1][1]} a key."
        ids = hostile.encode(spelled)
        found = hostile.answers(spelled, ids)
        assert found.keep == len(ids)
        assert found.forms == plain.answers(TEXT, plain.encode(TEXT)).forms


@pytest.mark.parametrize(("name", "arch"), CHAT_TEMPLATES.items())
def test_literal_and_joint_tokenisation_agree(name, arch, real_vocabulary_model, test_data) -> None:
    """Where a text spells no special token, both ways to tokenise must give the same ids."""
    with Model(real_vocabulary_model(arch)) as model:
        tokenizer = tokenizer_of(model, test_data, name)
        joint = tokenizer.tokenizer.encode(tokenizer.rendered(TEXT), parse_special=True)
        literal = tokenizer._encode_literally([tokenizer.before, TEXT, tokenizer.after])
        assert np.array_equal(literal, joint)


@pytest.mark.parametrize(("name", "arch"), CHAT_TEMPLATES.items())
def test_one_beginning_at_most(name, arch, real_vocabulary_model, test_data) -> None:
    with Model(real_vocabulary_model(arch)) as model:
        ids = tokenizer_of(model, test_data, name).encode(TEXT)
        bos, wanted = model.tokenizer.bos
        count = int((ids == bos).sum())
        assert count <= 1
        if wanted:
            assert count == 1
            assert ids[0] == bos


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_answer_tokens_come_from_the_join(arch, real_vocabulary_model) -> None:
    """Scored ids continue the prompt: prompt ids + answer id spell prompt + form."""
    with Model(real_vocabulary_model(arch)) as model:
        tokenizer = PromptTokenizer(model.tokenizer, template_for(model, "plain"), LOGIT)
        ids = tokenizer.encode(TEXT)
        found = tokenizer.answers(TEXT, ids)
        assert found.keep == len(ids), "after 'Answer:' every form begins with a token of its own"
        for answer, tokens in found.ids.items():
            spelled = {text_of(model, [token]).replace("\u2581", " ").strip() for token in tokens}
            assert spelled & {answer, answer.title(), answer.upper()}
        assert not set(found.ids["yes"]) & set(found.ids["no"])


def test_a_join_that_merges_is_scored_from_the_last_common_token(real_vocabulary_model) -> None:
    with Model(real_vocabulary_model("gpt2")) as model:
        template = ChatTemplate("{{ messages[0]['content'] }} Answer: ")
        tokenizer = PromptTokenizer(model.tokenizer, template, BARE)
        ids = tokenizer.encode(TEXT)
        found = tokenizer.answers(TEXT, ids)
        assert found.keep == len(ids) - 1, "the trailing space belongs to the answer's token"
        assert " Yes" in {text_of(model, [token]) for token in found.ids["yes"]}


def test_a_template_reads_a_frozen_clock() -> None:
    template = ChatTemplate("{{ strftime_now('%d %b %Y') }}")
    assert template.render("x") == "01 Jan 2025"
    assert (
        ChatTemplate(template.source, date=datetime.date(2026, 2, 3)).render("x") == "03 Feb 2026"
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{% if %}", "TemplateSyntaxError"),
        ("{{ raise_exception('no system role') }}", "no system role"),
        ("{{ messages.__class__.__mro__[1].__subclasses__() }}", "SecurityError"),
        ("{{ messages[0]['content'] | nosuchfilter }}", "nosuchfilter"),
        ("{% for i in range(10**9) %}x{% endfor %}", "Range too big"),
    ],
)
def test_a_template_that_cannot_or_must_not_run(source, message) -> None:
    with pytest.raises(TemplateError, match=message):
        ChatTemplate(source).render("x")


@pytest.mark.parametrize(
    "source", ["nothing", "{{ messages[0].content }}{{ messages[0].content }}"]
)
def test_a_template_that_drops_or_repeats_the_message(source, small_model, tmp_path) -> None:
    (tmp_path / "t.jinja").write_text(source)
    with pytest.raises(TemplateError, match=r"shows the user's message [02] times"):
        score(small_model, make_suite(), template=str(tmp_path / "t.jinja"))


def test_rendering_equals_plain_jinja(test_data) -> None:
    """Our sandbox renders what an ordinary environment with the same settings renders."""
    for name in CHAT_TEMPLATES:
        source = (test_data / "chat_templates" / f"{name}.jinja").read_text()
        plain = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, autoescape=False)  # noqa: S701
        plain.globals["strftime_now"] = datetime.date(2025, 1, 1).strftime
        plain.globals["raise_exception"] = pytest.fail
        expected = plain.from_string(source).render(
            messages=[{"role": "user", "content": TEXT}],
            add_generation_prompt=True,
            enable_thinking=False,
            bos_token="<s>",
            eos_token="</s>",
        )
        assert ChatTemplate(source, bos_token="<s>", eos_token="</s>").render(TEXT) == expected
