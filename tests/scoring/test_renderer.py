"""Strangers' chat templates: bounded in time, memory and text, with one line for whatever goes wrong."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from helpers import make_suite
from misfired import score
from misfired.errors import TemplateError
from misfired.scoring import renderer
from misfired.scoring.llama.doctor import examine
from misfired.scoring.template import ChatTemplate
from random_model import make_model

SHOWS = "{% for m in messages %}{{ m.content }}{% endfor %}"
ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
DOUBLING = (
    "{% set text = namespace(all='0123456789') %}"
    "{% for i in range(60) %}{% set text.all = text.all ~ text.all %}{% endfor %}{{ text.all }}"
)

#: Templates and what is said of them.
HOSTILE = {
    "endless": (ENDLESS, "not rendered within"),
    "endless at the real clock": (
        "{% if strftime_now('%Y') == '2025' %}" + ENDLESS + "{% endif %}",
        "not rendered within",
    ),
    "endless in C": ("{{ 9 ** (9 ** 9) }}", "not rendered within"),
    "doubling": (DOUBLING, "needs more than 1024 MiB|not rendered within"),
    "product": ("{{ 'x' * 10**11 }}", "needs more than 1024 MiB"),
    "filter": ("{{ 'x' | center(10**11) }}", "needs more than 1024 MiB"),
    "memory at the real clock": (
        "{% if strftime_now('%Y') == '2025' %}{% set x = 'a' * 3000000000 %}{% endif %}",
        "needs more than 1024 MiB",
    ),
    "long": ("{{ 'x' * 10**7 }}", r"must have at most 1,048,576 characters, got 10,000,0"),
    "class": ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "SecurityError"),
    "globals": ("{{ cycler.__init__.__globals__ }}", "SecurityError"),
    "attr": ("{{ messages.append(1) }}", "SecurityError"),
    "key": ("{{ '{x}'.format() }}", "KeyError"),
    "index": ("{{ '{0}{1}'.format(1) }}", "IndexError"),
    "lookup": ("{{ 'x'.encode('nonexistent') }}", "LookupError"),
    "macro": ("{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}", "RecursionError"),
    "brackets": ("{{ " + "(" * 300 + "1" + ")" * 300 + " }}", "SyntaxError|RecursionError|Memory"),
    "loops": ("{% for a in [1] %}" * 25 + "{% endfor %}" * 25, "SyntaxError"),
    "branches": ("{% if true %}" * 120 + "{% endif %}" * 120, "IndentationError"),
    "lists": ("{{ " + "[" * 5000 + "]" * 5000 + " }}", "RecursionError|MemoryError|renderer died"),
    "attribute": ("{{ 'abc' | xmlattr }}", "AttributeError"),
    "overflow": ("{{ 2.0 ** 10000 }}", "OverflowError"),
    "digits": ("{{ 10 ** 5000 }}", "ValueError"),
    "memory": ("{{ 'a' | indent(10 ** 10) }}", "needs more than 1024 MiB"),
    "surrogate": ("{{ '\\ud800' }}", "UnicodeEncodeError"),
    "assertion": ("{% include 'x' %}", "TemplateNotFound|TypeError"),
    "refusal": ("{{ raise_exception('no\n\nway') }}", "RefusalError: no way$"),
    "syntax": ("{% if %}", "TemplateSyntaxError"),
    "a draw": ("{{ ['a', 'b'] | random }}", "No filter named 'random'"),
    "drawn words": ("{{ lipsum() }}", "'lipsum' is undefined"),
}  # fmt: skip


@pytest.mark.parametrize(("source", "message"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_template(source: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renderer, "SECONDS", 0.5)
    with pytest.raises(TemplateError, match=rf"^chat template \(model\): .*({message})") as caught:
        ChatTemplate(source + SHOWS).render("hello")
    assert "\n" not in str(caught.value)
    # The next template has a sound process.
    assert ChatTemplate(SHOWS).render("hello") == "hello"


def test_what_fails_for_a_real_prompt_only() -> None:
    """What a run asks is rendered in the bounded process, not only made-up texts."""
    template = ChatTemplate(
        "{% if 'lost' in messages[-1].content %}{{ 1 // 0 }}{% endif %}" + SHOWS
    )
    assert template.render("found") == "found"
    with pytest.raises(TemplateError, match="ZeroDivisionError"):
        list(template.render_all(["found", "lost"]))


def test_prompts_together_have_a_limit_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renderer, "SECONDS", 0.1)
    monkeypatch.setattr(renderer, "SECONDS_A_PROMPT", 0.001)
    slow = "{% for i in range(99999) %}{% endfor %}" + SHOWS
    assert ChatTemplate(slow).render("one") == "one"
    with pytest.raises(TemplateError, match="not rendered within"):
        list(ChatTemplate(slow).render_all(["hello"] * 500))


def test_many_prompts_equal_single_ones_in_any_thread() -> None:
    texts = [f"text {n}" for n in range(3 * renderer.N_BATCH + 1)]
    template = ChatTemplate("{{ messages | length }}" + SHOWS)
    history = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    expected = [f"3ab{text}" for text in texts]
    found: dict[int, list[str]] = {}

    def render(number: int) -> None:
        found[number] = list(template.render_all(texts, history))

    threads = [threading.Thread(target=render, args=(n,)) for n in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert list(found.values()) == [expected] * 4
    assert [template.render(text, history) for text in texts[:3]] == expected[:3]


def test_a_process_that_dies_is_replaced() -> None:
    template = ChatTemplate(SHOWS)
    assert template.render("a") == "a"
    process = renderer.begin()
    process.send_signal(signal.SIGTERM)
    process.wait()
    with pytest.raises(TemplateError, match=r"renderer died \(signal 15\)"):
        template.render("b")
    assert template.render("c") == "c"


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_an_interrupt_ends_a_rendering_at_once(tmp_path: Path) -> None:
    program = (
        "import sys; from misfired.scoring.template import ChatTemplate\n"
        "print(ChatTemplate('{{ 1 }}').render('x'), flush=True)\n"
        "ChatTemplate(sys.argv[1]).render('x')"
    )
    command = [sys.executable, "-c", program, ENDLESS]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert errors.endswith("KeyboardInterrupt\n")


@pytest.mark.model
def test_a_run_and_the_doctor_say_it_in_one_line(small_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.gguf"
    make_model(path, "llama", chat_template="{{ '{x}'.format() }}" + SHOWS)
    with pytest.raises(TemplateError, match=r"^chat template \(model\): KeyError: 'x'$"):
        score(path, make_suite())
    found = {finding.name: finding for finding in examine(path, n_threads=1)}
    assert found["chat template"].status == "problem"
    assert found["chat template"].value == "KeyError: 'x'"
    (tmp_path / "t.jinja").write_text("{{ '{0}'.format() }}" + SHOWS, encoding="utf-8")
    found = {
        f.name: f for f in examine(small_model, template=str(tmp_path / "t.jinja"), n_threads=1)
    }
    assert found["model"].status == "problem"
    assert "IndexError" in found["model"].value


@pytest.mark.model
@pytest.mark.parametrize("source", ["nothing", "{{ messages[0].content }}" * 2])
def test_a_template_that_drops_or_repeats_the_message(
    source: str, small_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "t.jinja").write_text(source)
    with pytest.raises(TemplateError, match=r"shows the user's message [02] times"):
        score(small_model, make_suite(), template=str(tmp_path / "t.jinja"))
