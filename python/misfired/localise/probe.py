"""Reads and overwrites what a model computes, many interventions in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from misfired._core import Prober, ProbeRequest
from misfired.errors import ModelError
from misfired.scoring.forms import Ids
from misfired.scoring.llama.engine import CELLS, ragged
from misfired.scoring.llama.model import Model
from misfired.scoring.options import MODES, Mode

Activations = npt.NDArray[np.float32]

#: Places in every layer that can be read and overwritten, in the order of `Prober.shape`.
#: `attention` is the heads' outputs side by side, before the output projection: to overwrite all of
#: them is to overwrite what attention adds to the residual stream, in every architecture.
SITES = ("residual", "attention", "feed_forward")

#: Most and fewest interventions in a batch, each on a stream of the cache for itself.
MOST_STREAMS, LEAST_STREAMS = 32, 8

#: Bytes of the cache above which there are fewer streams.
MAX_CACHE_BYTES = 2 << 30

#: Tokens a batch: room for the span of a person in each stream.
N_BATCH = 256

#: Tokens by which a batch may round a prompt up.
_N_ROUND = 8


@dataclass(frozen=True)
class ProbeResult:
    """Results of a request.

    Attributes:
        logits: For each job the logits of its wanted ids, float64.
        rows: For each read its row, float32.
    """

    logits: list[npt.NDArray[np.float64]]
    rows: list[Activations]


class Probe(AbstractContextManager["Probe"]):
    """A model whose activations can be read and overwritten; close it after use.

    Each prompt and each intervention has a stream of the cache for itself. Without flash attention (mode
    `exact`) a number is then bit-identical whatever else is in the batch; see design/localise.md. The
    cache takes up to `MAX_CACHE_BYTES`, or more if the least number of streams needs it.

    Args:
        model: A loaded model; it stays open.
        longest: Tokens of the longest prompt.
        n_slots: Most prompts kept in the cache at a time.
        n_threads: CPU threads; all cores by default.
        mode: `exact`, or `fast` (f16 cache, flash attention where possible: no attention weights).

    Raises:
        ModelError: A recurrent model, or one without the expected nodes.
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
                f"{model.path}: model must be a transformer, got a recurrent or hybrid model: its state "
                "cannot be rolled back to where an intervention begins"
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
            self._open: Prober | None = Prober(self._context.handle, n_slots=self.n_slots)
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
    def _prober(self) -> Prober:
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

    def run(self, request: ProbeRequest) -> ProbeResult:
        """Decode the jobs of a request with their edits.

        A job must not continue a slot that another job of the same request fills.

        Raises:
            ArgumentError: A number out of range.
            ModelError: A node is not as it was when the probe was opened.
            ScoringError: llama.cpp failed.
        """
        logits, rows = self._prober.run(request)
        return ProbeResult([each.astype(np.float64) for each in logits], rows)

    def unembed(self, rows: Activations, wanted: Sequence[Ids]) -> list[npt.NDArray[np.float64]]:
        """Return the logits that the model makes of residual rows after its last layer.

        llama.cpp itself applies the last norm, the output weights, soft-caps and scales.

        Args:
            rows: Shape (n, width of the residual stream).
            wanted: For each row the token ids whose logits are returned.
        """
        flat = np.ascontiguousarray(rows, np.float32).reshape(-1)
        logits = self._prober.unembed(flat, ragged(wanted)).astype(np.float64)
        return np.split(logits, np.cumsum([len(ids) for ids in wanted])[:-1])

    def attention(self, prompts: Sequence[Ids]) -> list[Activations]:
        """Return the attention weights of each prompt's last token, shape (layer, head, token).

        The slots are emptied.

        Raises:
            ModelError: The weights are never computed, as with flash attention.
        """
        flat = self._prober.attention(ragged(prompts))
        shape = (self.n_layer, self.n_head, -1)
        ends = self.n_layer * self.n_head * np.cumsum([len(ids) for ids in prompts])
        return [part.reshape(shape) for part in np.split(flat, ends)[:-1]]

    def close(self) -> None:
        """Give the memory back; a second call does nothing."""
        self._open = None
        self._context.close()

    def __exit__(self, *_: object) -> None:
        self.close()


def _bytes_per_cell(model: Model, mode: Mode) -> int:
    """Return the bytes that a token's keys and values take in the cache."""
    arch = model.metadata.get("general.architecture", "")
    n_embd, n_head = model.sizes.n_embd, model.sizes.n_head
    head = int(model.metadata.get(f"{arch}.attention.key_length", n_embd // n_head))
    n_bytes = 4 if MODES[mode].type_k == "f32" else 2
    return 2 * n_bytes * head * model.n_head_kv * model.sizes.n_layer


def _share(n_bytes: int, n_slots: int) -> tuple[int, int]:
    """Return how many slots and streams of this size there are: as many as the cache may take."""
    n_fit = MAX_CACHE_BYTES // n_bytes
    n_slots = max(2, min(n_slots, n_fit // 8 * 2))
    n_streams = min(MOST_STREAMS, (n_fit - n_slots) // 4 * 4)
    return n_slots, max(LEAST_STREAMS, n_streams)
