"""Reads and overwrites what a model computes, many interventions in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from llama_cpp import llama_cpp as capi

from misfired import _core
from misfired.errors import ModelError
from misfired.scoring.llama.engine import CELLS, ragged
from misfired.scoring.llama.model import Model
from misfired.scoring.options import MODES, Mode

Ids = npt.NDArray[np.int32]
Rows = npt.NDArray[np.float32]
_T = TypeVar("_T", bound=np.generic)

#: Places in every layer that can be read and overwritten, in the order of the compiled core.
#: `attention` is the heads' outputs side by side, before the output projection: whoever overwrites all
#: of them overwrites what attention adds to the residual stream, in every architecture.
SITES = ("residual", "attention", "feed_forward")

#: Interventions that share a batch, each on a stream of the cache for itself: at most, and at least.
MOST_STREAMS, LEAST_STREAMS = 32, 8

#: Bytes of the cache above which there are fewer streams.
MAX_CACHE_BYTES = 2 << 30

#: Tokens a batch: room for the span of a person in each stream.
N_BATCH = 256

#: Tokens by which a batch may round a prompt up.
_N_ROUND = 8


@dataclass(frozen=True)
class Job:
    """Tokens to decode behind cells that a slot holds already.

    Attributes:
        tokens: Ids to decode, at least one.
        wanted: Ids whose logits are read after the last of them.
        parent: Slot whose first `n_shared` cells this job continues; None starts from nothing.
        n_shared: How many.
        keep: Slot that keeps the cells of this job; None drops them.
    """

    tokens: Ids
    wanted: Sequence[int]
    parent: int | None = None
    n_shared: int = 0
    keep: int | None = None


@dataclass
class Request:
    """Jobs with what is overwritten and read in each; filled step by step, then run."""

    jobs: list[Job] = field(default_factory=list)
    edits: list[tuple[int, int, int, int, int, int, int]] = field(default_factory=list)
    reads: list[tuple[int, int, int, int]] = field(default_factory=list)
    values: list[Rows] = field(default_factory=list)
    n_values: int = 0

    def add(self, job: Job) -> int:
        """Add a job; its number."""
        self.jobs.append(job)
        return len(self.jobs) - 1

    def write(
        self, job: int, site: str, layer: int, position: int, values: Rows, *, column: int = 0
    ) -> None:
        """Overwrite columns from `column` on of one row."""
        row = (job, SITES.index(site), layer, position)
        self.edits.append((*row, column, len(values), self.n_values))
        self.values.append(values)
        self.n_values += len(values)

    def zero(
        self, job: int, site: str, layer: int, position: int, *, column: int, n_columns: int
    ) -> None:
        """Set columns of one row to zero."""
        self.edits.append((job, SITES.index(site), layer, position, column, n_columns, -1))

    def read(self, job: int, site: str, layer: int, position: int) -> None:
        """Read one row as later nodes see it."""
        self.reads.append((job, SITES.index(site), layer, position))


@dataclass(frozen=True)
class Result:
    """What a request gave.

    Attributes:
        logits: For each job the logits of its wanted ids, float64.
        rows: For each read its row, float32.
    """

    logits: list[npt.NDArray[np.float64]]
    rows: list[Rows]


class Probe(AbstractContextManager["Probe"]):
    """A model whose activations can be read and overwritten; close it after use.

    Each prompt and each intervention has a stream of the cache for itself. Without flash attention (mode
    `exact`) a number then has the same bits whatever interventions share its batch; see
    design/localise.md. The cache takes up to `MAX_CACHE_BYTES`, or what the least number of streams
    needs.

    Args:
        model: A loaded model; it stays open.
        longest: Tokens of the longest prompt.
        n_slots: Prompts kept in the cache at a time, at most.
        n_threads: CPU threads; all cores by default.
        mode: `exact`, or `fast` (f16 cache, flash attention where possible: no attention weights).

    Raises:
        ModelError: A recurrent model, or one whose nodes are not where they are expected.
    """

    def __init__(
        self,
        model: Model,
        *,
        longest: int,
        n_slots: int = 8,
        n_threads: int | None = None,
        mode: Mode = "exact",
    ) -> None:
        if not model.can_share_prefixes:
            raise ModelError(
                f"{model.path}: a recurrent or hybrid model: its state cannot be rolled back to the "
                "point where an intervention begins"
            )
        self.model = model
        self.mode = mode
        self.n_batch = -(-max(N_BATCH, longest) // CELLS) * CELLS
        n_each = -(-(longest + _N_ROUND) // CELLS) * CELLS
        self.n_slots, n_streams = _share(n_each * _bytes_per_cell(model, mode), n_slots)
        n_sequences = self.n_slots + n_streams
        self.n_ctx = n_sequences * n_each
        self._context = model.context(
            self.n_ctx,
            n_batch=self.n_batch,
            cache=MODES[mode],
            n_threads=n_threads,
            n_sequences=n_sequences,
            unified=False,
            watched=True,
        )
        try:
            self._open: _core.Prober | None = _core.Prober(
                self._context.handle, n_slots=self.n_slots
            )
        except ModelError as error:
            self._context.close()
            raise ModelError(f"{model.path}: cannot be probed: {error}") from None
        self.n_layer, self.n_head, widths = self._prober.shape
        self.widths = dict(zip(SITES, widths, strict=True))
        self._check_widths()

    def _check_widths(self) -> None:
        problem = next((f"no node for {site}" for site, n in self.widths.items() if not n), None)
        if problem is None and self.widths["attention"] % self.n_head:
            problem = f"{self.widths['attention']} columns do not divide among {self.n_head} heads"
        if problem is not None:
            self.close()
            raise ModelError(
                f"{self.model.path}: architecture "
                f"{self.model.metadata.get('general.architecture', '?')!r} cannot be probed: {problem}"
            )

    @property
    def _prober(self) -> _core.Prober:
        if self._open is None:
            raise ModelError(f"{self.model.path}: the probe has been closed")
        return self._open

    @property
    def head_width(self) -> int:
        """Columns of one head before the output projection."""
        return self.widths["attention"] // self.n_head

    def head_columns(self, head: int) -> slice:
        """Columns of one head in a row of site `attention`."""
        return slice(head * self.head_width, (head + 1) * self.head_width)

    def run(self, request: Request) -> Result:
        """Decode the jobs with their edits.

        A job must not continue a slot that another job of the same request fills.

        Raises:
            ArgumentError: A number out of range.
            ModelError: A node is not as it was when the probe was opened.
            ScoringError: llama.cpp failed.
        """
        jobs = [
            (-1 if j.parent is None else j.parent, j.n_shared, -1 if j.keep is None else j.keep)
            for j in request.jobs
        ]
        lengths = [len(job.wanted) for job in request.jobs]
        logits, flat = self._prober.run(
            _matrix(jobs, 3),
            ragged([job.tokens for job in request.jobs]),
            ragged([np.asarray(job.wanted) for job in request.jobs]),
            _matrix(request.edits, 7),
            _flat(request.values),
            _matrix(request.reads, 4),
        )
        widths = [self.widths[SITES[site]] for _, site, _, _ in request.reads]
        return Result(_split(logits.astype(np.float64), lengths), _split(flat, widths))

    def unembed(self, rows: Rows, wanted: Sequence[Sequence[int]]) -> list[npt.NDArray[np.float64]]:
        """Logits that the model makes of residual rows after its last layer.

        llama.cpp itself applies the last norm, the output weights, soft-caps and scales.

        Args:
            rows: Shape (n, width of the residual stream).
            wanted: For each row the token ids whose logits are returned.
        """
        flat = np.ascontiguousarray(rows, np.float32).reshape(-1)
        logits = self._prober.unembed(flat, ragged([np.asarray(ids) for ids in wanted]))
        return _split(logits.astype(np.float64), [len(ids) for ids in wanted])

    def attention(self, prompts: Sequence[Ids]) -> list[Rows]:
        """Attention weights of each prompt's last token, shape (layer, head, token).

        What the slots hold is lost.

        Raises:
            ModelError: The weights are never computed, as with flash attention.
        """
        flat = self._prober.attention(ragged(prompts))
        sizes = [self.n_layer * self.n_head * len(ids) for ids in prompts]
        return [part.reshape(self.n_layer, self.n_head, -1) for part in _split(flat, sizes)]

    def close(self) -> None:
        """Give the memory back; a second call does nothing."""
        self._open = None
        self._context.close()

    def __exit__(self, *_: object) -> None:
        self.close()


def _bytes_per_cell(model: Model, mode: Mode) -> int:
    """What a token's keys and values take in the cache."""
    arch = model.metadata.get("general.architecture", "")
    n_embd, n_head = model.sizes.n_embd, model.sizes.n_head
    head = int(model.metadata.get(f"{arch}.attention.key_length", n_embd // n_head))
    n_head_kv = int(capi.llama_model_n_head_kv(model.pointer))
    n_bytes = 4 if MODES[mode].type_k == "f32" else 2
    return 2 * n_bytes * head * n_head_kv * model.sizes.n_layer


def _share(n_bytes: int, n_slots: int) -> tuple[int, int]:
    """How many slots and streams of so many bytes there are: as many as the cache may take."""
    n_fit = MAX_CACHE_BYTES // n_bytes
    n_slots = max(2, min(n_slots, n_fit // 8 * 2))
    n_streams = min(MOST_STREAMS, (n_fit - n_slots) // 4 * 4)
    return n_slots, max(LEAST_STREAMS, n_streams)


def _matrix(rows: Sequence[tuple[int, ...]], width: int) -> npt.NDArray[np.int64]:
    return np.array(rows, np.int64).reshape(-1, width)


def _flat(parts: Sequence[Rows]) -> Rows:
    return np.concatenate(parts).astype(np.float32) if parts else np.zeros(0, np.float32)


def _split(flat: npt.NDArray[_T], sizes: Sequence[int]) -> list[npt.NDArray[_T]]:
    return np.split(flat, np.cumsum(sizes)[:-1]) if sizes else []
