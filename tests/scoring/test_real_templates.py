"""Constructs of the templates that models ship, against llama-cpp-python's own formatter."""

import datetime
from pathlib import Path

import llama_cpp
import pytest
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from helpers import MakeModel
from misfired.prompts.shots import Shot
from misfired.scoring.llama.model import Model
from misfired.scoring.llama.session import template_for
from misfired.scoring.protocol import COT, LOGIT, Protocol
from misfired.scoring.template import ChatTemplate
from misfired.scoring.tokens import PromptTokenizer, turns

#: Text of our own, with the constructs of each model's.
TEMPLATES = sorted((Path(__file__).parents[1] / "data" / "templates").glob("*.jinja"))
TEXT = "The baker lost a key. Did the baker lose a key?"
SHOTS = tuple(
    Shot(id=f"s{n}", category="c", scenario=f"s{n}", condition="contrast", text=text, answer=answer)
    for n, (text, answer) in enumerate(
        [("A cat sat. Did a cat sit?", "yes"), ("A dog ran. Did a dog sit?", "no")]
    )
)
SYSTEM = "Be fair. /no_think"


def formatted(template: ChatTemplate, messages: list[dict[str, str]]) -> str:
    formatter = Jinja2ChatFormatter(
        template.source, eos_token=template.eos_token, bos_token=template.bos_token
    )
    # Its clock cannot be set by an argument, since it passes its own under that name.
    formatter.strftime_now = datetime.datetime.combine(template.date, datetime.time()).strftime
    return formatter(messages=messages, enable_thinking=template.thinking).prompt


@pytest.mark.model
@pytest.mark.parametrize("protocol", [LOGIT, COT], ids=lambda protocol: protocol.name)
@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_tokens_equal_those_of_another_renderer(
    path: Path, protocol: Protocol, real_vocabulary_model: MakeModel
) -> None:
    file = real_vocabulary_model("qwen2")
    other = llama_cpp.Llama(str(file), vocab_only=True, verbose=False)
    with Model(file) as model:
        template = template_for(model, str(path))
        for shots in ((),) if protocol.thinking else ((), SHOTS):
            plain = PromptTokenizer(model.tokenizer, template, protocol, shots)
            texts = [shot.text for shot in shots]
            answers = [protocol.demonstrated(shot.answer) for shot in shots]
            for system in (None, SYSTEM):
                tokenizer = plain.with_system(system)
                asked = {"role": "user", "content": protocol.user_message(TEXT)}
                messages = [*turns(protocol, texts, answers, system), asked]
                expected = formatted(tokenizer.template, messages) + protocol.prefix
                assert tokenizer.rendered(TEXT) == expected
                ids = other.tokenize(expected.encode(), add_bos=False, special=True)
                assert tokenizer.encode(TEXT).tolist() == ids
    other.close()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a{% generation %}{% set x = 'b' %}{{ x }}{% endgeneration %}c{{ x }}", "abcb"),
        ("{% for i in [1, 2, 3] %}{% if i == 2 %}{% continue %}{% endif %}{{ i }}{% endfor %}", "13"),
        ("{% for i in [1, 2, 3] %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "1"),
        ("{{ {'b': 'é<', 'a': 1} | tojson }}", '{"b": "é<", "a": 1}'),
        ("{{ {'b': 'é'} | tojson(ensure_ascii=True) }}", '{"b": "\\u00e9"}'),
        ("{{ {'b': 2, 'a': 1} | tojson(sort_keys=True) }}", '{"a": 1, "b": 2}'),
        ("{{ [1, 2] | tojson(separators=(',', ':')) }}", "[1,2]"),
        ("{{ {'a': 1} | tojson(indent=1) }}", '{\n "a": 1\n}'),
        ("{{ tools is none }}{{ documents is none }}{{ tools is defined }}", "TrueTrueTrue"),
        ("{{ strftime_now('%Y-%m-%d %H:%M') }}", "2025-01-01 00:00"),
        ("{% set n = namespace(i=0) %}{% for m in messages %}{% set n.i = 7 %}{% endfor %}{{ n.i }}", "7"),
        ("{{ messages[::-1][0].role }}{{ messages[-1:][0]['role'][1:] }}", "userser"),
        ("{{ {} is mapping }}{{ [] is mapping }}{% for k, v in {'a': 1}.items() %}{{ k }}{% endfor %}", "TrueFalsea"),
    ],
)  # fmt: skip
def test_what_templates_may_use(source: str, expected: str) -> None:
    template = ChatTemplate(source)
    assert template.render(TEXT) == expected
    if "documents" not in source:  # which transformers passes, and llama-cpp-python does not
        assert formatted(template, [{"role": "user", "content": TEXT}]) == expected
