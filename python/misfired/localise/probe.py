"""Reads and overwrites what a model computes, many interventions in one batch."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt

from misfired._core import Prober, ProbeRequest
from misfired.errors import ModelError
from misfired.scoring.forms import Ids
from misfired.scoring.llama.engine import CELLS, ragged
from misfired.scoring.llama.model import Model
from misfired.scoring.options import MODES, Mode
from misfired.stats.means import Floats

Activations = npt.NDArray[np.float32]

#: Places in every layer that can be read and overwritten, in the order of `Prober.shape`.
#: `attention` is the heads' outputs side by side, before the output projection: to overwrite all of
#: them is to overwrite what attention adds to the residual stream, in every architecture.
SITES = ("residual", "attention", "feed_forward")


@dataclass(frozen=True)
class Room:
    """How much is computed at a time.

    Attributes:
        n_slots: Most prompts that are held.
        n_streams: Most interventions in a batch, each on a stream of the cache for itself.
        n_batch: Tokens a batch: room for the span of a person in each stream.
        cache_bytes: Size of the cache above which there are fewer slots and streams.
    """

    n_slots: int
    n_streams: int
    n_batch: int
    cache_bytes: int


#: A CPU gains nothing from wider batches. A GPU is idle in narrow ones: one token of each of 32 streams
#: takes it as long as one of each of 192. llama.cpp has at most 256 sequences.
CPU, GPU = Room(8, 32, 256, 2 << 30), Room(32, 192, 1024, 8 << 30)

#: Fewest interventions in a batch.
LEAST_STREAMS = 8

#: Tokens by which a batch may round a prompt up.
_N_ROUND = 8


@dataclass(frozen=True)
class ProbeResult:
    """The logits of each job's wanted ids, and the row of each read."""

    logits: list[Floats]
    rows: list[Activations]


class Probe(AbstractContextManager["Probe"]):
    """A model whose activations can be read and overwritten; close it after use.

    Each prompt and each intervention has a stream of the cache for itself. Without flash attention (mode
    `exact`) a number is then bit-identical whatever else is in the batch; see design/localise.md.

    Args:
        model: A loaded model; it stays open.
        longest: Tokens of the longest prompt.
        n_slots: Most prompts kept in the cache at a time; default: as the device allows (`Room`).
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
        n_slots: int | None = None,
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
        room = GPU if model.uses_gpu else CPU
        room = replace(room, n_slots=room.n_slots if n_slots is None else n_slots)
        self.n_batch = -(-max(room.n_batch, longest) // CELLS) * CELLS
        n_each = -(-(longest + _N_ROUND) // CELLS) * CELLS
        self.n_slots, self.n_streams = _slots_and_streams(model, mode, n_each, room)
        n_sequences = self.n_slots + self.n_streams
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
        problem = next((f"no node for {site}" for site, n in self.widths.items() if not n), None)
        if problem is None and self.widths["attention"] % self.n_head:
            problem = f"{self.widths['attention']} columns do not divide among {self.n_head} heads"
        if problem is not None:
            self.close()
            arch = model.metadata.get("general.architecture", "?")
            raise ModelError(f"{model.path}: architecture {arch!r} cannot be probed: {problem}")

    @property
    def _prober(self) -> Prober:
        if self._open is None:
            raise ModelError(f"{self.model.path}: the probe has been closed")
        return self._open

    @property
    def head_width(self) -> int:
        """Columns of one head before the output projection."""
        return self.widths["attention"] // self.n_head

    @property
    def heads(self) -> list[tuple[int, int]]:
        """Layer and number of every head."""
        return list(product(range(self.n_layer), range(self.n_head)))

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

    def unembed(self, rows: Activations, wanted: Sequence[Ids]) -> list[Floats]:
        """Return the logits that the model makes of residual rows, shape (n, width), after its last layer.

        llama.cpp itself applies the last norm, the output weights, soft-caps and scales. `wanted` has
        for each row the token ids whose logits are returned.
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


def _slots_and_streams(model: Model, mode: Mode, n_cells: int, room: Room) -> tuple[int, int]:
    """Return how many slots and streams of `n_cells` cells fit into the cache."""
    arch, sizes = model.metadata.get("general.architecture", ""), model.sizes
    width = int(model.metadata.get(f"{arch}.attention.key_length", sizes.n_embd // sizes.n_head))
    n_bytes = 4 if MODES[mode].type_k == "f32" else 2
    # Keys and values.
    n_each = 2 * n_bytes * width * model.n_head_kv * sizes.n_layer * n_cells
    n_fit = room.cache_bytes // n_each
    # A case has four prompts.
    n_slots = max(4, min(room.n_slots, n_fit // 8 * 2))
    return n_slots, max(LEAST_STREAMS, min(room.n_streams, (n_fit - n_slots) // 4 * 4))
