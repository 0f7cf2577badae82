"""Models and contexts in the compiled core: what computes keeps them alive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from llama_cpp import llama_cpp as capi

from misfired import _core
from misfired.errors import ArgumentError, ModelError
from misfired.scoring.llama.library import load_library
from misfired.scoring.llama.model import Model

pytestmark = pytest.mark.model


def make_scorer(context: _core.Context) -> _core.Scorer:
    rows = np.array([1, 2, 3], np.int32), np.array([0, 3])
    return _core.Scorer(context, rows, rows, n_block=100, packing="packed")


def test_a_scorer_outlives_what_python_has_closed(small_model: Path) -> None:
    with Model(small_model) as model, model.context(256, n_batch=64) as context:
        scorer = make_scorer(context.handle)
        tokenizer = model.tokenizer
    scorer.start(0)
    places, logps, _, _ = scorer.step()
    assert places.tolist() == [0]
    assert np.isfinite(logps).all()
    assert tokenizer.n_vocab > 0


def test_what_is_closed_is_not_used(small_model: Path) -> None:
    model = Model(small_model)
    context = model.context(256, n_batch=64)
    context.close()
    model.close()
    with pytest.raises(ModelError, match="the context has been closed"):
        _ = context.handle
    uses = (
        lambda: model.tokenizer,
        lambda: model.n_ctx_train,
        lambda: model.context(256, n_batch=64),
    )
    for use in uses:
        with pytest.raises(ModelError, match="the model has been closed"):
            use()


def test_addresses_that_cannot_be_adopted(small_model: Path) -> None:
    with pytest.raises(ArgumentError, match="model must have an address, got null"):
        _core.Model(load_library(), 0)
    with Model(small_model) as one, Model(small_model) as other:
        with pytest.raises(ArgumentError, match="context must have an address, got null"):
            _core.Context(one._opened()[0], 0)
        params = capi.llama_context_default_params()
        params.n_ctx = 64
        address = capi.llama_init_from_model(other.pointer, params)
        with pytest.raises(
            ArgumentError, match="context must belong to the model, got one of another"
        ):
            _core.Context(one._opened()[0], address)
        capi.llama_free(address)


def test_a_context_without_a_watcher_cannot_be_probed(small_model: Path) -> None:
    with (
        Model(small_model) as model,
        model.context(256, n_batch=64) as context,
        pytest.raises(ArgumentError, match="context must have a watcher"),
    ):
        _core.Prober(context.handle, n_slots=1)
