"""`--explain`: how the prompts of a pair are put to a model and read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def explanation_lines(shown: list[dict[str, Any]]) -> Iterator[str]:
    """How each prompt of a pair is put to the model and read, as plain lines."""
    for prompt in shown:
        yield f"{prompt['name']}: {prompt['n_prompt_tokens']} tokens"
        yield "the prompt:"
        yield from (f"  | {line}" for line in prompt["rendered"].split("\n"))
        yield "its first and last tokens (id, text):"
        for place, token, text in prompt["tokens"]:
            mark = (
                "  <- the answer is read after this token" if place == prompt["scored_at"] else ""
            )
            yield f"  {place:5d} {token:7d} {text!r}{mark}"
        yield "answer forms (id, text, log-probability):"
        for answer, forms in prompt["forms"].items():
            for token, text, logp in forms:
                yield f"  {answer:>5} {token:7d} {text!r:10} {logp:9.4f}"
        if prompt["dropped_forms"]:
            yield f"  left out, not told apart by their first token: {prompt['dropped_forms']}"
        answer = prompt["answer"]
        yield (
            f"answer {answer['answer']} (expected {prompt['expected']}: {answer['outcome']}), "
            f"logit_diff {answer['logit_diff']:.4f}, mass {answer['mass']:.4f}, "
            f"top token {answer['top_token']!r}"
        )
        yield ""
