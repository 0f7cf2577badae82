"""How near a GPU's limit does all that surrounds it let a run come?

    python benches/bench_host.py

A device of known speed stands in for the GPU (`simulated_gpu.c`): it computes nothing, and takes its time. All
else is real: batches, masks, llama.cpp's graphs, 128,256 logits a prompt, Python. Times are those of the device
for as many tokens as all distinct prefixes have, so 1 is the limit. Linux, with a C compiler.
"""

import argparse
import ctypes
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from unittest import mock

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "tools"), str(HERE)]

#: A 1.24B model in f16 on an H200: microseconds a token, milliseconds a batch at least, microseconds a kernel.
DEVICE = {"SIM_TOKEN_US": "11.8", "SIM_FLOOR_MS": "0.8", "SIM_LAUNCH_US": "3"}
#: As many layers as such a model has; narrow, since nothing is computed.
SHAPE = {"n_embd": 64, "n_layer": 16, "n_head": 2, "n_head_kv": 1, "n_ff": 64}


def simulated(folder: Path) -> dict[str, str]:
    """Compile the device; return the environment that puts it in ggml's place."""
    import llama_cpp  # noqa: PLC0415

    library = folder / "simulated_gpu.so"
    compiler = ["cc", "-O2", "-shared", "-fPIC", str(HERE / "simulated_gpu.c"), "-o", str(library)]
    subprocess.run([*compiler, "-lpthread", "-ldl"], check=True)  # noqa: S603
    ggml = Path(llama_cpp.__file__).parent / "lib" / "libggml-base.so"
    return {**os.environ, **DEVICE, "SIM_GGML": str(ggml), "LD_PRELOAD": str(library)}


def measure(folder: Path, n_prompts: int) -> None:
    """Print the time of each mode with one context and with as many as a GPU gets."""
    # Logits that nobody computed may be no numbers.
    warnings.simplefilter("ignore", RuntimeWarning)
    from misfired.scoring import environment  # noqa: PLC0415  where the device is

    environment.before_loading()
    import gpu_parts  # noqa: PLC0415
    from misfired.scoring.llama import lanes, session  # noqa: PLC0415
    from misfired.scoring.llama.model import Model  # noqa: PLC0415

    device = ctypes.CDLL(os.environ["LD_PRELOAD"])
    device.simulated_busy.restype = ctypes.c_double
    gpu_parts.SHAPES["narrow"], gpu_parts.N_VOCAB["narrow"] = SHAPE, 128_256
    model, job = gpu_parts.opened(gpu_parts.make(folder, "narrow", "f16"), "cpu", n_prompts)
    a_token = 1e-6 * float(DEVICE["SIM_TOKEN_US"])
    with (
        model,
        mock.patch.object(Model, "uses_gpu", True),
        mock.patch.object(Model, "is_all_on_gpu", True),
        # Calibration would time the device.
        mock.patch.object(session, "best_batch", return_value=session.N_BATCH_GPU),
    ):
        print(f"{'mode':8}{'contexts':>10}{'seconds':>10}{'by limit':>10}{'device busy':>13}")
        for mode, packing in (("fast", "packed"), ("stable", "stable"), ("exact", "fresh")):
            for n in (1, lanes.N_LANES[packing]):
                with mock.patch.dict(lanes.N_LANES, {packing: n}):
                    device.simulated_busy()
                    _, seconds, (scorer, *_) = gpu_parts.scored(model, job, mode)
                # Both rounds that were timed; a trial, where there is one, counts with them.
                busy = device.simulated_busy() / 2
                if mode == "fast":
                    limit = scorer.n_distinct_tokens * a_token
                print(f"{mode:8}{n:10}{seconds:10.2f}{seconds / limit:10.2f}{busy / seconds:13.0%}")


def main() -> None:
    """Run the measurement in a process that has the device."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n-prompts", type=int, default=720)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.folder:
        measure(chosen.folder, chosen.n_prompts)
        return
    with tempfile.TemporaryDirectory() as folder:
        again = [sys.executable, __file__, "--n-prompts", str(chosen.n_prompts), "--folder", folder]
        sys.exit(subprocess.run(again, env=simulated(Path(folder)), check=False).returncode)  # noqa: S603


if __name__ == "__main__":
    main()
