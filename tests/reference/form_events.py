"""Probabilities of answer forms by going through every continuation: slow, and plainly right."""

from collections.abc import Callable, Sequence
from itertools import product

Tokens = tuple[int, ...]


def owner_of(continuation: Tokens, forms: Sequence[Tokens]) -> int | None:
    """The longest form that a continuation begins with."""
    holding = [form for form in forms if continuation[: len(form)] == form]
    return forms.index(max(holding, key=len)) if holding else None


def form_probabilities(
    forms: Sequence[Tokens], next_token: Callable[[Tokens], Sequence[float]], n_vocab: int
) -> tuple[list[float], float]:
    """Probability that each form is the longest that a continuation begins with, and that none is."""
    total, rest = [0.0] * len(forms), 0.0
    length = max(len(form) for form in forms)
    for continuation in product(range(n_vocab), repeat=length):
        probability = 1.0
        for place, token in enumerate(continuation):
            probability *= next_token(continuation[:place])[token]
        owner = owner_of(continuation, forms)
        if owner is None:
            rest += probability
        else:
            total[owner] += probability
    return total, rest
