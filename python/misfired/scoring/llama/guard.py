"""Other people's files are tried in a process of their own, which may die in the place of this one.

llama.cpp checks most of a GGUF file and aborts on some of what it does not; a chat template is a program
that may never end. Neither can be caught from inside.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

from misfired.errors import ModelError, TemplateError
from misfired.scoring.llama.model import Model, check_gguf, default_threads
from misfired.scoring.options import Devices

#: Seconds and bytes that a template may use; real ones need a hundredth of a second.
TEMPLATE_SECONDS = 5
TEMPLATE_BYTES = 1 << 30

#: Seconds that loading a model may take, and what it may take longer if it is large.
LOAD_SECONDS = 60
LOAD_BYTES_A_SECOND = 50e6

_LOAD = """
import ctypes, json, os, sys
sys.path[:] = json.loads(sys.argv[2])
from llama_cpp import llama_cpp as capi
from llama_cpp._ggml import libggml
@ctypes.CFUNCTYPE(None, ctypes.c_char_p)
def last_words(message):
    os.write(2, b"\\n" + os.path.basename(message) + b"\\n")
    os._exit(4)
libggml.ggml_set_abort_callback(last_words)
parameters = capi.llama_model_default_params()
parameters.n_gpu_layers = 0
parameters.use_extra_bufts = False
parameters.vocab_only = bool(int(sys.argv[4]))
model = capi.llama_model_load_from_file(os.fsencode(sys.argv[1]), parameters)
if not model:
    sys.exit(3)
if int(sys.argv[4]):
    os._exit(0)
parameters = capi.llama_context_default_params()
parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = 32
parameters.n_threads = parameters.n_threads_batch = int(sys.argv[3])
context = capi.llama_init_from_model(model, parameters)
if not context:
    sys.exit(3)
tokens = (ctypes.c_int32 * 2)()
capi.llama_decode(context, capi.llama_batch_get_one(tokens, len(tokens)))
os._exit(0)
"""

_RENDER = """
import json, sys
sys.path[:] = json.loads(sys.argv[2])
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
except ImportError:
    pass
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
request = json.load(sys.stdin)
environment = ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
)
environment.filters["tojson"] = lambda value, indent=None: json.dumps(value, indent=indent)
environment.globals["strftime_now"] = lambda form: form
def refuse(message):
    sys.exit(0)
environment.globals["raise_exception"] = refuse
try:
    for part in environment.from_string(request["source"]).generate(request["variables"]):
        pass
except MemoryError:
    sys.exit(4)
except Exception:
    sys.exit(0)
"""


def open_model(
    path: Path | str, devices: Devices | None = None, *, vocab_only: bool = False
) -> Model:
    """Load a model that a process of its own has survived; every model of a user comes in here.

    Raises:
        ModelError: As `try_loading` and `Model`.
    """
    try_loading(path, vocab_only=vocab_only)
    return Model(Path(path), devices or Devices(), vocab_only)


def try_loading(path: Path | str, *, vocab_only: bool = False) -> None:
    """Load a model and decode two tokens in a process of its own, on the CPU; once for each file.

    Of a vocabulary without weights nothing is decoded.

    Raises:
        ModelError: There is no such model file, or the process died or did not end in time: llama.cpp
            does not survive it. What llama.cpp merely refuses raises nothing here: loading says why.
    """
    path = Path(path)
    check_gguf(path, needs_weights=not vocab_only)
    stat = path.stat()
    _try_loading(path, stat.st_size, stat.st_mtime_ns, vocab_only)


@functools.lru_cache(maxsize=64)
def _try_loading(path: Path, n_bytes: int, _modified: int, vocab_only: bool) -> None:
    seconds = LOAD_SECONDS + n_bytes / LOAD_BYTES_A_SECOND
    try:
        done = subprocess.run(  # noqa: S603  our own interpreter and text; the path is an argument
            [
                *(sys.executable, "-I", "-c", _LOAD),
                *(os.fspath(path), json.dumps(sys.path)),
                *(str(default_threads()), str(int(vocab_only))),
            ],
            # llama.cpp's threads would spin between its nodes, at the cost of whoever else works.
            env={**os.environ, "OMP_WAIT_POLICY": "passive"},
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ModelError(f"{path}: llama.cpp did not read it within {seconds:.0f} s") from None
    if done.returncode not in {0, 3}:
        raise ModelError(f"{path}: llama.cpp dies of this file ({_end(done)})")


@functools.lru_cache(maxsize=64)
def try_rendering(source: str, name: str, variables: str) -> None:
    """Render a chat template in a process of its own, with bounded time and memory.

    What a template refuses or fails at is left to the rendering proper, which says so.

    Args:
        source: Jinja source.
        name: What to call it.
        variables: What it is shown, a JSON object.

    Raises:
        TemplateError: It takes too long, or too much memory.
    """
    request = json.dumps({"source": source, "variables": json.loads(variables)})
    try:
        done = subprocess.run(  # noqa: S603  our own interpreter and text; the template is data
            [sys.executable, "-I", "-c", _RENDER, str(TEMPLATE_BYTES), json.dumps(sys.path)],
            input=request.encode(),
            capture_output=True,
            timeout=TEMPLATE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TemplateError(
            f"chat template ({name}): not rendered within {TEMPLATE_SECONDS} s"
        ) from None
    if done.returncode == 4:
        raise TemplateError(
            f"chat template ({name}): needs more than {TEMPLATE_BYTES >> 20} MiB of memory"
        )
    if done.returncode != 0:
        raise TemplateError(f"chat template ({name}): its renderer died ({_end(done)})")


def _end(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    said = f": {lines[-1][:120]}" if lines else ""
    if done.returncode < 0:
        return f"signal {-done.returncode}{said}"
    return f"exit code {done.returncode}{said}"
