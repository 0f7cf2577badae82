"""What a model needs is estimated, compared with what there is, and refused with both numbers."""

import ctypes
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from llama_cpp import llama_cpp as capi

from helpers import MakeModel, make_suite
from misfired import write_suite
from misfired.errors import ArgumentError, ModelError
from misfired.scoring import environment
from misfired.scoring.llama import device, guard, memory, model
from misfired.scoring.llama.doctor import examine
from misfired.scoring.llama.gguf import read_header
from misfired.scoring.llama.library import CACHE_TYPES, FLASH_ATTENTION
from misfired.scoring.llama.memory import Free, needed, require
from misfired.scoring.llama.model import Model, open_model
from misfired.scoring.options import MODES, Devices, KvCache

pytestmark = pytest.mark.model

_LIMITED = (
    "import resource, runpy, sys\n"
    "n_bytes = int(sys.argv.pop(1)) << 20\n"
    "resource.setrlimit(resource.RLIMIT_AS, (n_bytes, n_bytes))\n"
    "runpy.run_module('misfired', run_name='__main__', alter_sys=True)"
)


def reported(path: Path, cache: KvCache, n_ctx: int, n_batch: int, n_sequences: int) -> float:
    """The bytes that llama.cpp says it has reserved for a context."""
    lines: list[str] = []
    log = capi.llama_log_callback(lambda _level, text, _data: lines.append(text.decode()))
    params = capi.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch = n_ctx, n_batch, n_batch
    params.n_seq_max, params.kv_unified = n_sequences, True
    params.type_k, params.type_v = CACHE_TYPES[cache.type_k], CACHE_TYPES[cache.type_v]
    params.flash_attn_type = FLASH_ATTENTION[cache.flash_attention]
    with Model(path) as loaded:
        capi.llama_log_set(log, ctypes.c_void_p(0))
        context = capi.llama_init_from_model(loaded.pointer, params)
        capi.llama_free(context)
    found = re.findall(r"buffer size\s*=\s*([\d.]+) MiB", "".join(lines))
    assert len(found) >= 3, lines
    return sum(map(float, found)) * 2**20


@pytest.mark.parametrize("mode", ["exact", "fast"])
@pytest.mark.parametrize("arch", ["llama", "gemma2", "gpt2", "qwen3"])
def test_the_estimate_is_what_llama_cpp_reserves(
    arch: str, mode: str, real_vocabulary_model: MakeModel
) -> None:
    path, cache = real_vocabulary_model(arch), MODES[mode]
    for n_ctx, n_batch, n_sequences in ((512, 128, 64), (2048, 512, 8)):
        sizes = {"n_ctx": n_ctx, "n_batch": n_batch, "n_sequences": n_sequences}
        estimate = sum(needed(read_header(path), cache, **sizes).values())
        actual = reported(path, cache, n_ctx, n_batch, n_sequences)
        assert 1.0 <= estimate / actual < 1.4


def test_too_much_is_refused_with_both_numbers(
    small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free", lambda: Free(50_000_000, "control group"))
    said = r"memory must be at least about 7\d.*MB \(weights .*\), got 50MB free \(control group\)"
    with pytest.raises(ModelError, match=said):
        open_model(small_model)
    found = {finding.name: finding for finding in examine(small_model, n_threads=1)}
    assert found["model"].status == "problem"
    monkeypatch.setattr(memory, "free", lambda: Free(200_000_000, "control group"))
    with (
        open_model(small_model) as loaded,
        pytest.raises(ModelError, match=r"K/V cache 537MB.*, got 200MB"),
    ):
        loaded.context(1 << 20, n_batch=128)


def test_enough_or_unknown_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free", lambda: None)
    require(Path("m.gguf"), {"weights": 1 << 60})
    monkeypatch.setattr(memory, "free", lambda: Free(100 + memory.SPARE, "machine"))
    require(Path("m.gguf"), {"weights": 100})
    with pytest.raises(ModelError):
        require(Path("m.gguf"), {"weights": 101})


@pytest.mark.parametrize("version", [1, 2])
def test_the_least_of_nested_control_groups(version: int, tmp_path: Path) -> None:
    listing = tmp_path / "cgroup"
    listing.write_text("0::/a/b\n" if version == 2 else "3:cpu:/\n4:hugetlb,memory:/a/b\n0::/\n")
    root = tmp_path / ("groups" if version == 2 else "groups/memory")
    limit, used, cached = (
        ("memory.max", "memory.current", "inactive_file")
        if version == 2
        else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    )
    for folder, most in (
        (root / "a" / "b", "max" if version == 2 else str(2**63 - 4096)),
        (root / "a", "1000"),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / limit).write_text(most + "\n")
        (folder / used).write_text("700\n")
        (folder / "memory.stat").write_text(f"anon 1\n{cached} 200\n")
    found = list(memory._containers(listing, tmp_path / "groups"))
    assert found == [Free(500, "control group")]


def limited(n_mib: int, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _LIMITED, str(n_mib), *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits of Linux")
def test_a_run_in_little_address_space(small_model: Path, tmp_path: Path) -> None:
    """It is refused in one line with both numbers, or ends well; nothing aborts."""
    write_suite(make_suite(2), tmp_path / "suite.parquet")
    score = ("score", small_model, "--suite", tmp_path / "suite.parquet", "--n-threads", 1, "-o")
    done = limited(256, *score, tmp_path / "a")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert re.match(
        r"error: ulimit -v must be at least \d+ \(KiB\), or unlimited, got 262144$", done.stderr
    )
    own = (environment.own_space() + environment.LEAST_SPACE) >> 20
    for n_mib in (own + 1, own + 400):
        done = limited(n_mib, *score, tmp_path / str(n_mib))
        assert "Traceback" not in done.stderr
        if done.returncode:
            assert done.returncode == 1
            *_, said = done.stderr.splitlines()
            assert re.match(
                r"error: .*memory must be at least about .*, got .* \(ulimit -v\)", said
            )
    assert done.returncode == 0, done.stderr


def test_the_least_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_space_limit", lambda: 100 << 20)
    with pytest.raises(ArgumentError, match="got 102400"):
        environment.spare_address_space()


@pytest.mark.skipif(os.name == "nt", reason="addresses of POSIX")
def test_a_model_is_tried_on_the_devices_of_the_run(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First on the CPU, where a damaged file shows; then with every setting that places its layers."""
    asked = tmp_path / "asked"
    stub = tmp_path / "program.py"
    stub.write_text(f"import sys; open({str(asked)!r}, 'a').write(sys.argv[3] + '\\n')")
    monkeypatch.setattr(guard, "PROGRAM", stub)
    guard._trials.clear()
    placed = Devices(
        device="gpu", n_gpu_layers=7, main_gpu=1, split_mode="row", tensor_split=(3.0, 1.0)
    )
    monkeypatch.setattr(model, "place", lambda *_: placed)
    monkeypatch.setattr(model, "Model", lambda *_, **__: None)
    monkeypatch.setattr(model.environment, "before_gpu", lambda _: None)
    monkeypatch.setattr(capi, "llama_max_devices", lambda: 4)
    open_model(small_model)
    first, second = asked.read_text().splitlines()
    assert '"settings": {"n_gpu_layers": 0}' in first
    expected = (
        '"settings": {"n_gpu_layers": 7, "split_mode": 2, "main_gpu": 1, '
        '"tensor_split": [3.0, 1.0, 0.0, 0.0]}'
    )
    assert expected in second
    stub.write_text("import os; os.abort()")
    with pytest.raises(ModelError, match="dies of this file"):
        guard.try_loading(small_model, settings={"n_gpu_layers": 3})
    guard._trials.clear()
    params = capi.llama_model_default_params()
    device.apply_to_model(placed, params)
    assert (params.n_gpu_layers, params.main_gpu, params.tensor_split[0]) == (7, 1, 3.0)
