"""Reads and overwrites what a model computes, many interventions in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from misfired import _core
from misfired.closing import Closing
from misfired.errors import ModelError
from misfired.scoring.devices import MODES, Mode
from misfired.scoring.engine import CELLS, ragged
from misfired.scoring.model import Model

Ids = npt.NDArray[np.int32]
Rows = npt.NDArray[np.float32]
_T = TypeVar("_T", bound=np.generic)

#: Places in every layer that can be read and overwritten, in the order of the compiled core.
#: `attention` is the heads' outputs side by side, before the output projection: whoever overwrites all
#: of them overwrites what attention adds to the residual stream, in every architecture.
SITES = ("residual", "attention", "feed_forward")

#: llama.cpp allows this many sequences in a cache.
MAX_SEQUENCES = 256

#: Tokens a batch: interventions of one token each fill it with as many sequences as there are.
N_BATCH = 256


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


class Probe(Closing):
    """A model whose activations can be read and overwritten; close it after use.

    The context has a unified f32 cache without flash attention, so that a number does not depend on
    which interventions share its batch beyond float rounding.

    Args:
        model: A loaded model; it stays open.
        longest: Tokens of the longest prompt.
        n_slots: Prompts kept in the cache at a time.
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
        self.n_slots = n_slots
        self.n_batch = -(-max(N_BATCH, longest) // CELLS) * CELLS
        self.n_ctx = -(-(n_slots * longest + self.n_batch) // CELLS) * CELLS
        self._context = model.context(
            self.n_ctx,
            n_batch=self.n_batch,
            cache=MODES[mode],
            n_threads=n_threads,
            n_sequences=MAX_SEQUENCES,
            watched=True,
        )
        try:
            self._open: _core.Prober | None = _core.Prober(self._context.handle, n_slots=n_slots)
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


def _matrix(rows: Sequence[tuple[int, ...]], width: int) -> npt.NDArray[np.int64]:
    return np.array(rows, np.int64).reshape(-1, width)


def _flat(parts: Sequence[Rows]) -> Rows:
    return np.concatenate(parts).astype(np.float32) if parts else np.zeros(0, np.float32)


def _split(flat: npt.NDArray[_T], sizes: Sequence[int]) -> list[npt.NDArray[_T]]:
    return np.split(flat, np.cumsum(sizes)[:-1]) if sizes else []
