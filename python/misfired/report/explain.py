"""`--explain`: how the prompts of a pair are put to a model and read."""

from collections.abc import Iterator
from typing import Any

from misfired.text import shown


def explanation_lines(prompts: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of what `misfired.scoring.llama.explain.explain` returns."""
    for prompt in prompts:
        if "tokens" in prompt:
            yield from _prompt_lines(prompt)
        else:
            yield f"{shown(prompt['name'])}: not scored"
        yield _answer_line(prompt["answer"], prompt["expected"])
        yield ""


def _prompt_lines(prompt: dict[str, Any]) -> Iterator[str]:
    yield f"{shown(prompt['name'])}: {prompt['n_prompt_tokens']} tokens"
    yield "the prompt:"
    yield from (f"  | {shown(line, None)}" for line in prompt["rendered"].split("\n"))
    yield "its first and last tokens (id, text):"
    for place, token, text in prompt["tokens"]:
        mark = "  <- the answer is read after this token" if place == prompt["scored_at"] else ""
        yield f"  {place:5d} {token:7d} {text!r}{mark}"
    yield "answer forms (id, text, log-probability):"
    for answer, forms in prompt["forms"].items():
        for token, text, logp in forms:
            yield f"  {answer:>5} {token:7d} {text!r:10} {logp:9.4f}"
    for form, token in prompt["partial_forms"].items():
        yield f"  note: {form!r} is read by its first token {token!r}; every text that begins so counts"
    if prompt["dropped_forms"]:
        yield f"  left out, not told apart by their first token: {prompt['dropped_forms']}"


def _answer_line(answer: dict[str, Any], expected: str) -> str:
    """Return the answer and what decided it; two answers have a `logit_diff`, more a `margin`."""
    said = [f"answer {shown(answer['answer'])} (expected {shown(expected)}: {answer['outcome']})"]
    numbers = (name for name in ("logit_diff", "margin", "mass") if answer.get(name) is not None)
    said += [f"{name} {answer[name]:.4f}" for name in numbers]
    if answer.get("top_token") is not None:
        said.append(f"top token {answer['top_token']!r}")
    if answer.get("reason") is not None:
        said.append(shown(answer["reason"]))
    return ", ".join(said)
