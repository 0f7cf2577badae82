"""Prompt sets: a sample at even distances."""

from helpers import make_suite
from misfired.prompts.prompt_set import PromptSet


def test_a_sample_is_spread_evenly_and_has_at_most_all_prompts() -> None:
    prompts = PromptSet(make_suite(4))
    assert prompts.spread(4)["text"].equals(prompts.at([0, 2, 4, 6])["text"])
    assert prompts.spread(3)["text"].equals(prompts.at([0, 2, 5])["text"])
    assert len(prompts.spread(100)) == len(prompts) == 8
