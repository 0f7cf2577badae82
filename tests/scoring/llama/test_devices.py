"""What is passed through to llama.cpp arrives there, and `exact` keeps its promise whatever it is."""

import ctypes

import pytest
from llama_cpp import llama_cpp as capi

from helpers import make_suite
from misfired.errors import ArgumentError, ModelError
from misfired.runs.pipeline import score
from misfired.scoring import environment
from misfired.scoring.llama import device
from misfired.scoring.llama import model as loading
from misfired.scoring.llama.gguf import Header
from misfired.scoring.llama.invariance import TOLERANCE
from misfired.scoring.llama.model import Model, open_model
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
    monkeypatch.setattr(environment, "_fixed", [])
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


def test_no_gpu_takes_part_in_a_run_on_the_cpu(small_model, monkeypatch) -> None:
    """An empty list of devices, which ends at once; and large batches are not offloaded either."""
    loaded = Spy(monkeypatch, "llama_model_load_from_file")
    made = Spy(monkeypatch, "llama_init_from_model")
    with open_model(small_model, Devices(device="cpu")) as model:
        assert not model.uses_gpu
        model.context(256, n_batch=64).close()
    assert loaded.params.n_gpu_layers == 0
    assert ctypes.cast(loaded.params.devices, ctypes.POINTER(ctypes.c_void_p))[0] is None
    assert not made.params.op_offload
    assert not made.params.offload_kqv


def a_gpu(gib: float, name: str = "CUDA0") -> device.Device:
    """A GPU with so much free memory."""

    class Gpu(device.Device):
        def memory(self) -> tuple[int, int]:
            return int(gib * 2**30), int(gib * 2**30)

    return Gpu(name, "made up", "gpu", 0)


#: 12 layers of 1 GB, output included.
HEADER = Header("made up", "llama", 6_000_000_000, 12_000_000_000, {"f16": 1.0}, 11)


@pytest.mark.parametrize(
    ("asked", "free", "expected"),
    [
        ({}, [], ("cpu", 0)),
        ({"device": "cpu"}, [80], ("cpu", 0)),
        ({"n_gpu_layers": 0}, [80], ("cpu", 0)),
        ({}, [80], ("gpu", -1)),
        ({"device": "gpu"}, [80], ("gpu", -1)),
        ({"n_gpu_layers": 3}, [80], ("gpu", 3)),
        # A quarter of the weights and 1 GiB on each GPU stay free: 15 GB and 1.07 GB.
        ({}, [16.08 * 1e9 / 2**30], ("gpu", -1)),
        ({}, [16.06 * 1e9 / 2**30], ("gpu", 11)),
        ({}, [8.6 * 1e9 / 2**30] * 2, ("gpu", -1)),
        ({}, [8.5 * 1e9 / 2**30] * 2, ("gpu", 11)),
        ({"split_mode": "none", "main_gpu": 1}, [80, 6 * 1e9 / 2**30], ("gpu", 3)),
        ({}, [1], ("cpu", 0)),
        # This backend does not know.
        ({}, [0], ("gpu", -1)),
    ],
)
def test_a_gpu_gets_the_layers_that_fit(asked, free, expected, monkeypatch) -> None:
    monkeypatch.setattr(device, "gpus", lambda: list(map(a_gpu, free)))
    placed = device.place(Devices(**asked), lambda: HEADER)
    assert (placed.device, placed.n_gpu_layers) == expected


@pytest.mark.parametrize(
    ("asked", "free", "message"),
    [
        ({"device": "gpu"}, [], "device must be cpu or auto where .* finds no GPU, got 'gpu'"),
        ({"n_gpu_layers": -1}, [], "n_gpu_layers must be 0 where .* finds no GPU, got -1"),
        ({"main_gpu": 1}, [], "main_gpu must be left out where .* finds no GPU"),
        ({"device": "gpu"}, [1], "device must be cpu, since no layer fits on CUDA0 .*, got 'gpu'"),
    ],
)
def test_a_gpu_that_is_not_there_is_refused(asked, free, message, monkeypatch) -> None:
    monkeypatch.setattr(device, "gpus", lambda: list(map(a_gpu, free)))
    with pytest.raises(ArgumentError, match=message):
        device.place(Devices(**asked), lambda: HEADER)


def test_an_integrated_gpu_counts_where_there_is_no_other(monkeypatch) -> None:
    cpu, own, shared = (
        device.Device(name, "made up", kind, 0)
        for name, kind in {"CPU": "cpu", "Vulkan1": "gpu", "Vulkan0": "integrated gpu"}.items()
    )
    for found, used in (([cpu], []), ([shared, cpu], [shared]), ([shared, own, cpu], [own])):
        monkeypatch.setattr(device, "found_devices", lambda found=found: found)
        assert device.gpus() == used


def test_the_manifest_says_where_a_run_was_computed(small_model) -> None:
    manifest = score(small_model, make_suite(2)).manifest
    placed = manifest["settings"]["devices"]
    assert (placed["device"], placed["n_gpu_layers"]) == ("cpu", 0)
    told = manifest["computed_on"]
    assert told["devices"][0].startswith("CPU (")
    assert "backends CPU" in told["ggml"]
    assert (told["driver"], told["environment"]) == (None, {})


def test_the_manifest_says_what_was_in_force_on_a_gpu(monkeypatch) -> None:
    monkeypatch.setattr(device, "gpus", lambda: [a_gpu(80)])
    monkeypatch.setattr(device, "driver_version", lambda: "580.65.06")
    for name, value in environment.HIGHEST.items():
        monkeypatch.setenv(name, value)
    told = device.computed_on(Devices(device="gpu", n_gpu_layers=-1))
    assert told["devices"] == ["CUDA0 (made up)"]
    assert told["driver"] == "580.65.06"
    assert environment.HIGHEST.items() <= told["environment"].items()


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
        (
            {"split_mode": "row", "device": "cpu"},
            "split_mode must go with a GPU, and device is cpu",
        ),
        (
            {"main_gpu": 0, "n_gpu_layers": 0},
            "main_gpu must go with a GPU, and n_gpu_layers is 0",
        ),
        ({"device": "cuda"}, "device must be one of auto, cpu, gpu, got 'cuda'"),
        ({"precision": "high"}, "precision must be one of default, highest, got 'high'"),
        ({"device": "cpu", "n_gpu_layers": 1}, "n_gpu_layers must be 0 with device cpu, got 1"),
        ({"device": "gpu", "n_gpu_layers": 0}, "n_gpu_layers must not be 0 with device gpu"),
        ({"main_gpu": -1, "n_gpu_layers": 1}, "main_gpu must be at least 0, got -1"),
        (
            {"tensor_split": (0.0,), "n_gpu_layers": 1},
            r"tensor_split must be shares of at least 0, not all 0, .*, got \(0\.0,\)",
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
