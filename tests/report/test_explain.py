"""`--explain` shows every prompt, whatever its answers are and whether it could be scored."""

import pytest

from misfired.report.explain import explanation_lines

SCORED = {
    "name": "pair_0 none stereotyped", "n_prompt_tokens": 2, "rendered": "A\nB",
    "tokens": [(0, 5, "A"), (1, 6, "B")], "scored_at": 1, "forms": {"yes": [(7, "Yes", -0.5)]},
    "dropped_forms": [], "partial_forms": {"YES": "Y"}, "expected": "yes",
}  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            {"answer": "yes", "outcome": "correct", "logit_diff": 1.5, "mass": 0.25, "top_token": "Yes"},
            "answer yes (expected yes: correct), logit_diff 1.5000, mass 0.2500, top token 'Yes'",
        ),
        (
            {"answer": "no", "outcome": "wrong", "margin": 0.5, "mass": 0.25, "top_token": "No"},
            "answer no (expected yes: wrong), margin 0.5000, mass 0.2500, top token 'No'",
        ),
        (
            {"answer": None, "outcome": "error", "reason": "non-finite logits", "logit_diff": None},
            "answer None (expected yes: error), non-finite logits",
        ),
    ],
)  # fmt: skip
def test_the_last_line_holds_what_was_measured(answer, said) -> None:
    lines = list(explanation_lines([SCORED | {"answer": answer}]))
    assert lines[-2] == said
    assert lines[:4] == ["pair_0 none stereotyped: 2 tokens", "the prompt:", "  | A", "  | B"]
    assert lines[5].endswith("'A'")
    assert "  note: 'YES' is read by its first token 'Y'; every text that begins so counts" in lines
    assert lines[6].endswith("<- the answer is read after this token")


def test_a_prompt_without_text_is_named() -> None:
    answer = {"answer": None, "outcome": "error", "reason": "no text"}
    lines = list(explanation_lines([{"name": "pair_0", "expected": "yes", "answer": answer}]))
    assert lines == ["pair_0: not scored", "answer None (expected yes: error), no text", ""]
