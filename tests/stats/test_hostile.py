"""Hostile arguments: every function answers or raises an exception of misfired, and never panics.

For arguments of the right Python type. What is of another type is a `TypeError`, as everywhere.
"""

import inspect
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from misfired import _core
from misfired.errors import MisfiredError

COUNTS = st.sampled_from(
    [0, 1, 2, 3, 7, 64, 65, 300, -1, 2**31, 2**32, 2**53, 2**63, 2**64, 10**30]
)
FEW = st.sampled_from([-1, 0, 1, 2, 5, 2**64, 10**30, -(2**63)])
THREADS = st.sampled_from([None, 1, 2, 0, -1, 1025, 2**40, 2**64])
SHARES = st.sampled_from(
    [0.0, 1.0, 0.5, 0.05, 1e-300, 1 - 1e-16, -0.1, 1.1, 2.0, math.nan, math.inf, -math.inf, 1e308]
)
NUMBERS = SHARES | st.sampled_from([3.0, 100.0, -5.0, 1e-12, 1e9])
WORDS = st.sampled_from([
    "", "mar", "discrepancy", "d_prime", "mar_adjusted", "pair", "scenario", "two-sided", "less", "bca",
    "studentised", "clopper_pearson", "wilson", "bh", "cohen", "fleiss", "krippendorff", "\0", "ü" * 50,
])  # fmt: skip
SLOW = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)  # fmt: skip


@st.composite
def arrays(draw, dtype, values, *, n_dimensions=1):
    shape = draw(st.tuples(*[st.integers(0, 6)] * n_dimensions))
    size = int(np.prod(shape))
    array = np.array(draw(st.lists(values, min_size=size, max_size=size)), dtype=dtype).reshape(
        shape
    )
    layout = draw(st.sampled_from(["C", "C", "C", "F", "gaps"]))
    if layout == "gaps":
        return np.repeat(array, 2, axis=-1)[..., ::2]
    return np.asarray(array, order=layout)


CODES = arrays(np.uint8, st.sampled_from([0, 1, 2, 3, 4, 255]), n_dimensions=2)
GROUPS = arrays(np.uint32, st.sampled_from([0, 1, 2, 5, 2**32 - 1]))
SIZES = arrays(np.uint32, st.sampled_from([0, 1, 2, 30, 10**7, 2**32 - 1]))
WIDE = arrays(np.uint64, st.sampled_from([0, 1, 5, 1000, 2**53, 2**64 - 1]))
SIGNED = arrays(np.int64, st.sampled_from([0, 1, -1, 30, 2**31, 2**63 - 1, -(2**63)]))
FLOATS = arrays(np.float64, NUMBERS)
TABLES = arrays(np.float64, NUMBERS, n_dimensions=2)
MEASURE_LISTS = st.lists(WORDS, max_size=12)
TEXTS = st.lists(st.text(max_size=8) | st.sampled_from(["a b", "The the", "\n"]), max_size=4)
SIDES = st.tuples(TEXTS, GROUPS, st.lists(TEXTS, max_size=3))

CORE: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "resample": {
        "codes": CODES, "scenario": GROUPS, "category": GROUPS, "weights": TABLES,
        "paired": st.booleans(), "measures": MEASURE_LISTS, "unit": WORDS,
        "by_category": st.booleans(), "stratified": st.booleans(), "method": st.none() | WORDS,
        "confidence_level": SHARES, "n_resamples": st.none() | FEW, "seed": COUNTS,
        "n_threads": THREADS,
    },
    "measure_values": {"counts": TABLES, "measures": MEASURE_LISTS},
    "coverage": {
        "sizes": SIZES, "mar": SHARES, "primed": SHARES, "accuracy_contrast": SHARES,
        "correlation": SHARES, "methods": MEASURE_LISTS, "unit": WORDS, "confidence_level": SHARES,
        "n_simulations": FEW, "n_resamples": FEW, "seed": COUNTS, "n_threads": THREADS,
    },
    "mcnemar": {"b": WIDE, "c": WIDE, "alternative": WORDS, "mid_p": st.booleans()},
    "permutation": {
        "codes": CODES, "scenario": GROUPS, "measure": st.none() | WORDS, "unit": WORDS,
        "alternative": WORDS, "n_resamples": FEW, "seed": COUNTS, "n_threads": THREADS,
    },
    "adjust": {"p_values": FLOATS, "method": WORDS},
    "proportion_interval": {
        "hits": NUMBERS, "n": NUMBERS, "method": WORDS, "confidence_level": SHARES
    },
    "t_quantile": {"p": SHARES, "degrees": NUMBERS},
    "design_effect": {"sizes": SIGNED, "correlation": SHARES},
    "intraclass_correlation": {"hits": SIZES, "trials": SIZES},
    "power": {
        "sizes": SIZES, "gain": SHARES, "loss": SHARES, "correlation": SHARES, "alpha": SHARES,
        "alternative": WORDS, "n_simulations": st.none() | FEW, "seed": COUNTS, "n_threads": THREADS,
    },
    "agreement": {
        "codes": CODES, "cluster": GROUPS, "n_values": COUNTS, "method": WORDS,
        "confidence_level": SHARES, "n_resamples": FEW, "seed": COUNTS, "n_threads": THREADS,
    },
    "ranking": {
        "codes": CODES, "scenario": GROUPS, "category": GROUPS, "measure": WORDS, "unit": WORDS,
        "stratified": st.booleans(), "confidence_level": SHARES, "n_threads": THREADS,
    },
    "match_texts": {"left": SIDES, "right": SIDES, "max_pairs": COUNTS},
    "veto_pairs": {"files": st.lists(st.tuples(WORDS, WORDS, st.text()))},
    "strict_pairs": {"files": st.lists(st.tuples(WORDS, WORDS, st.text()))},
    "bbq_statement": {"question": st.text(), "answer": st.text()},
    "bbq_glitches": {},
}  # fmt: skip

SOUND: dict[str, Any] = {
    "codes": np.array([[0, 2, 1, 0, 2, 3], [0, 0, 2, 2, 0, 3]], dtype=np.uint8),
    "scenario": np.array([0, 0, 1, 1, 2, 2], dtype=np.uint32),
    "category": np.array([0, 0, 0, 0, 1, 1], dtype=np.uint32),
    "cluster": np.array([0, 1], dtype=np.uint32), "weights": np.array([[1.0, 0.0], [1.0, -1.0]]),
    "measures": ["mar"], "methods": ["percentile"], "unit": "scenario", "alternative": "two-sided",
    "measure": "mar", "confidence_level": 0.9, "n_resamples": 9, "n_simulations": 2, "seed": 1,
    "n_threads": 1, "sizes": np.array([2, 3, 1], dtype=np.uint32), "mar": 0.2, "primed": 0.1,
    "accuracy_contrast": 0.9, "correlation": 0.1, "gain": 0.2, "loss": 0.1, "alpha": 0.05,
    "n_values": 4, "b": np.array([1], dtype=np.uint64), "c": np.array([4], dtype=np.uint64),
    "hits": 1.0, "n": 4.0, "p": 0.9, "degrees": 4.0, "paired": True,
}  # fmt: skip
SOUND_OF = {
    "design_effect": {"sizes": np.array([2, 3], dtype=np.int64)},
    "intraclass_correlation": {
        "hits": np.array([1, 2], dtype=np.uint32), "trials": np.array([2, 3], dtype=np.uint32)
    },
}  # fmt: skip
METHODS = {"adjust": "bh", "proportion_interval": "wilson", "agreement": "krippendorff"}


def test_every_function_of_the_core_is_listed():
    plain = {name for name in _core.__all__ if inspect.isbuiltin(getattr(_core, name))}
    # It takes a context of llama.cpp.
    assert set(CORE) == plain - {"embeddings"}


@pytest.mark.parametrize("name", CORE)
@SLOW
@given(data=st.data())
def test_the_core_raises_its_own_exceptions_only(name, data):
    arguments = {key: data.draw(values, label=key) for key, values in CORE[name].items()}
    # Sound but for a few: else the first check would hide all others.
    known = SOUND | SOUND_OF.get(name, {}) | {"method": METHODS.get(name)}
    sound = {key: known[key] for key in sorted(arguments.keys() & known.keys())}
    if sound:
        for key in data.draw(st.sets(st.sampled_from(list(sound)), max_size=3)):
            del sound[key]
    arguments |= sound
    positional = [arguments.pop(key) for key in list(arguments) if is_positional(name, key)]
    said = ""
    try:
        getattr(_core, name)(*positional, **arguments)
    except MisfiredError as error:
        said = str(error)
    assert "internal error" not in said
    assert "\n" not in said


def is_positional(name, key):
    signature = inspect.signature(getattr(_core, name))
    return signature.parameters[key].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
