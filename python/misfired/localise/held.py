"""Prompts held in the cache, with what their last tokens computed, and interventions on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from misfired._core import ProbeRequest
from misfired.localise.cases import Case, Prompt
from misfired.localise.probe import SITES, Activations, Probe

Margins = npt.NDArray[np.float64]


class Held:
    """Prompts decoded once, each in a slot of its own; at most as many as the probe has slots.

    Attributes:
        margins: Of each prompt, unchanged.
        last: For each site the last token's activations, shape (prompt, layer, width), float32.
        span: For each site and prompt the activations of its span, shape (layer, token, width); empty
            unless asked for.
    """

    def __init__(
        self, probe: Probe, prompts: Sequence[Prompt], *, with_spans: bool = False
    ) -> None:
        self.probe = probe
        self.prompts = list(prompts)
        request = ProbeRequest()
        spans = [prompt.span or range(0) if with_spans else range(0) for prompt in prompts]
        for slot, prompt in enumerate(self.prompts):
            job = request.add(prompt.ids, prompt.wanted, keep=slot)
            for site, layer in product(SITES, range(probe.n_layer)):
                for position in (prompt.last, *spans[slot]):
                    request.read(job, site, layer, position)
        result = probe.run(request)
        self.margins = self.margins_of(result.logits, range(len(self.prompts)))
        read = iter(result.rows)
        blocks = {
            (site, slot): np.stack([[next(read) for _ in (0, *span)] for _ in range(probe.n_layer)])
            for slot, span in enumerate(spans)
            for site in SITES
        }
        slots = range(len(self.prompts))
        self.last = {site: np.stack([blocks[site, i][:, 0] for i in slots]) for site in SITES}
        self.span = {key: block[:, 1:] for key, block in blocks.items() if spans[key[1]]}

    def margins_of(
        self, logits: Sequence[npt.NDArray[np.float64]], slots: Sequence[int]
    ) -> Margins:
        """Return margins from logits of the wanted ids of these prompts."""
        pairs = zip(slots, logits, strict=True)
        return np.array([self.prompts[slot].margin(row) for slot, row in pairs])

    def unembed(self, rows: Activations, slots: Sequence[int]) -> Margins:
        """Return margins of residual rows under the model's own output, each as a prompt's answer."""
        logits = self.probe.unembed(rows, [self.prompts[slot].wanted for slot in slots])
        return self.margins_of(logits, slots)


class Interventions:
    """Changed runs of held prompts, gathered and then decoded together.

    Each runs on a sequence of its own, from the first changed position on.
    """

    def __init__(self, held: Held) -> None:
        self.held = held
        self.request = ProbeRequest()
        self.slots: list[int] = []

    def add(self, slot: int, start: int | None = None) -> int:
        """Add a changed run of one prompt and return its number.

        It decodes from position `start` on, by default the last token.
        """
        prompt = self.held.prompts[slot]
        start = prompt.last if start is None else start
        self.slots.append(slot)
        return self.request.add(prompt.ids[start:], prompt.wanted, parent=slot, n_shared=start)

    def zero(self, job: int, site: str, layer: int, position: int, columns: slice) -> None:
        """Set columns of a run's activations to zero."""
        n_columns = columns.stop - columns.start
        self.request.zero(job, site, layer, position, column=columns.start, n_columns=n_columns)

    def patch_last(
        self, slot: int, site: str, layer: int, values: Activations, *, column: int = 0
    ) -> None:
        """Add a run whose last token has other values at one site of one layer."""
        job, last = self.add(slot), self.held.prompts[slot].last
        self.request.write(job, site, layer, last, values, column=column)

    def patch_span(self, slot: int, site: str, layer: int, values: Activations) -> None:
        """Add a run whose person asked about has other values, shape (token, width)."""
        span = self.held.prompts[slot].span
        if span is None:
            raise ValueError("prompt must have a span, got none")
        job = self.add(slot, span.start)
        for position, row in zip(span, values, strict=True):
            self.request.write(job, site, layer, position, row)

    def run(self) -> tuple[Margins, list[Activations]]:
        """Return the margins of the changed runs, in the order they were added, and the rows read."""
        result = self.held.probe.run(self.request)
        return self.held.margins_of(result.logits, self.slots), result.rows

    def margins(self) -> Margins:
        """Return the margins of the changed runs, in the order they were added."""
        return self.run()[0]


@dataclass(frozen=True)
class Chunk:
    """Some cases, their prompts held in slots 2 i (stereotyped) and 2 i + 1 (contrast).

    Attributes:
        first: Number of the first case in the study.
    """

    cases: Sequence[Case]
    held: Held
    first: int = 0

    @staticmethod
    def hold(
        probe: Probe, cases: Sequence[Case], *, with_spans: bool = False, first: int = 0
    ) -> Chunk:
        """Decode both prompts of each case."""
        prompts = [prompt for case in cases for prompt in case.prompts]
        return Chunk(cases, Held(probe, prompts, with_spans=with_spans), first)

    @property
    def margins(self) -> Margins:
        """Margins of the unchanged runs, shape (case, condition)."""
        return self.held.margins.reshape(-1, 2)


def case_rows(case: Case, **columns: Any) -> pl.DataFrame:
    """Return rows that begin with what names a case; each column is an array, or one value for all."""
    keys = {name: getattr(case, name) for name in ("id", "category", "scenario", "kind")}
    fixed = {k: v for k, v in columns.items() if not isinstance(v, np.ndarray)}
    arrays = {k: v for k, v in columns.items() if isinstance(v, np.ndarray)}
    return pl.DataFrame(arrays).select(
        *[pl.lit(value).alias(name) for name, value in {**keys, **fixed}.items()], pl.all()
    )


def chunks(cases: Sequence[Case], probe: Probe) -> list[Sequence[Case]]:
    """Return the cases in parts that fit into the probe's slots, in order."""
    n = max(1, probe.n_slots // 2)
    return [cases[start : start + n] for start in range(0, len(cases), n)]
