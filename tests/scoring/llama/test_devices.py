"""What is passed through to llama.cpp arrives there, and `exact` keeps its promise whatever it is."""

import pytest
from llama_cpp import llama_cpp as capi

from helpers import make_suite
from misfired.errors import ArgumentError, ModelError
from misfired.runs.pipeline import score
from misfired.scoring.llama import model as loading
from misfired.scoring.llama.invariance import TOLERANCE
from misfired.scoring.llama.model import Model
from misfired.scoring.options import MODES, Devices, KvCache, ScoringOptions
from random_model import make_model

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def wide_model(tmp_path_factory):
    """Heads of 32 columns, which a quantised cache needs."""
    path = tmp_path_factory.mktemp("wide") / "wide.gguf"
    return make_model(
        path, "llama", n_embd=128, n_head=4, chat_template="{{ messages[0].content }}:"
    )


class Spy:
    """Keeps the parameters of a call, and makes the call."""

    def __init__(self, monkeypatch, name: str) -> None:
        original = getattr(capi, name)

        def call(first, params):
            self.params = params
            return original(first, params)

        monkeypatch.setattr(loading.capi, name, call)


def test_devices_arrive_in_the_model_parameters(small_model, monkeypatch) -> None:
    spy = Spy(monkeypatch, "llama_model_load_from_file")
    monkeypatch.setattr(capi, "llama_max_devices", lambda: 4)
    Model(
        small_model, Devices(n_gpu_layers=-1, split_mode="row", main_gpu=0, tensor_split=(3.0, 1.0))
    ).close()
    assert spy.params.n_gpu_layers == -1
    assert spy.params.split_mode == capi.LLAMA_SPLIT_MODE_ROW
    assert spy.params.main_gpu == 0
    assert spy.params.tensor_split[:4] == [3.0, 1.0, 0.0, 0.0]
    Model(small_model).close()
    default = capi.llama_model_default_params()
    assert spy.params.split_mode == default.split_mode
    assert not spy.params.tensor_split


def test_the_cache_arrives_in_the_context_parameters(wide_model, monkeypatch) -> None:
    spy = Spy(monkeypatch, "llama_init_from_model")
    with Model(wide_model) as model:
        for cache, expected in {
            MODES["exact"]: (0, 0, 0),
            MODES["fast"]: (1, 1, -1),
            KvCache("q8_0", "q4_0", "on"): (8, 2, 1),
        }.items():
            model.context(256, n_batch=64, cache=cache).close()
            arrived = (spy.params.type_k, spy.params.type_v, spy.params.flash_attn_type)
            assert arrived == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cache_type_k": "f8"}, "cache_type_k must be one of f32, f16.*, got 'f8'"),
        ({"flash_attention": "maybe"}, "flash_attention must be one of auto, off, on, got 'maybe'"),
        (
            {"cache_type_v": "q8_0"},
            "cache_type_v must be f32, f16 or bf16 without flash attention, got 'q8_0'",
        ),
        (
            {"split_mode": "tensor", "n_gpu_layers": -1},
            "split_mode must be one of none, layer, row, got 'tensor'",
        ),
        ({"split_mode": "row"}, "split_mode must go with n_gpu_layers, which is 0"),
        ({"main_gpu": -1, "n_gpu_layers": 1}, "main_gpu must be at least 0, got -1"),
        (
            {"tensor_split": (0.0,), "n_gpu_layers": 1},
            r"tensor_split must be shares of at least 0, not all 0, got \(0\.0,\)",
        ),
        (
            {"tensor_split": (1.0, -1.0), "n_gpu_layers": 1},
            r"tensor_split must be shares of at least 0.* got \(1\.0, -1\.0\)",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name(options, message) -> None:
    with pytest.raises(ArgumentError, match=message):
        ScoringOptions.of(options)


def test_more_shares_than_llama_cpp_takes(small_model) -> None:
    shares = Devices(tensor_split=(1.0,) * 999, n_gpu_layers=1)
    with pytest.raises(ArgumentError, match=r"tensor_split must have at most \d+ shares, got 999"):
        Model(small_model, shares)


def test_a_mode_is_only_a_default_for_the_cache() -> None:
    assert ScoringOptions.of({"mode": "fast"}).kv_cache == KvCache("f16", "f16", "auto")
    changed = ScoringOptions.of({"mode": "fast", "cache_type_v": "f32"}).kv_cache
    assert changed == KvCache("f16", "f32", "auto")


def test_a_cache_that_does_not_fit_the_heads_is_said(small_model) -> None:
    with Model(small_model) as model, pytest.raises(ModelError, match="block size 32 does not div"):
        model.context(256, n_batch=64, cache=KvCache("q8_0", "q8_0", "on"))


@pytest.mark.parametrize(
    ("type_k", "type_v", "flash_attention", "packing"),
    [
        ("f32", "f32", "off", "packed"),
        ("f16", "f16", "off", "solo"),
        ("q8_0", "f32", "off", "solo"),
        ("f32", "f32", "on", "fresh"),
        ("q8_0", "q8_0", "auto", "fresh"),
    ],
)
def test_exact_holds_with_any_cache(type_k, type_v, flash_attention, packing, wide_model) -> None:
    cache = {"cache_type_k": type_k, "cache_type_v": type_v, "flash_attention": flash_attention}
    scores = score(wide_model, make_suite(24), **cache)
    allowed = TOLERANCE if packing == "packed" else 0.0
    assert scores.manifest["batch_invariance"]["max_difference"] <= allowed
    assert scores.manifest["packing"]["packing"] == packing
    told = scores.manifest["settings"]["kv_cache"]
    assert told == {"type_k": type_k, "type_v": type_v, "flash_attention": flash_attention}
