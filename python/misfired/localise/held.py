"""Prompts held in the cache, with what their last tokens computed, and interventions on them."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from misfired._core import ProbeRequest
from misfired.localise.cases import QUESTIONS, Case, Prompt
from misfired.localise.probe import SITES, Activations, Probe
from misfired.prompts.primings import CONDITIONS
from misfired.stats.means import Floats


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
        spans = [(prompt.span if with_spans else None) or range(0) for prompt in prompts]
        for slot, prompt in enumerate(self.prompts):
            job = request.add(prompt.ids, prompt.wanted, keep=slot)
            for site, layer in product(SITES, range(probe.n_layer)):
                for position in (prompt.last, *spans[slot]):
                    request.read(job, site, layer, position)
        result = probe.run(request)
        slots = range(len(self.prompts))
        self.margins = self.margins_of(result.logits, slots)
        read = iter(result.rows)
        blocks = {
            (site, slot): np.stack([[next(read) for _ in (0, *span)] for _ in range(probe.n_layer)])
            for slot, span in enumerate(spans)
            for site in SITES
        }
        self.last = {site: np.stack([blocks[site, i][:, 0] for i in slots]) for site in SITES}
        self.span = {key: block[:, 1:] for key, block in blocks.items() if spans[key[1]]}

    def margins_of(self, logits: Sequence[Floats], slots: Sequence[int]) -> Floats:
        """Return margins from logits of the wanted ids of these prompts."""
        pairs = zip(slots, logits, strict=True)
        return np.array([self.prompts[slot].margin(row) for slot, row in pairs])

    def unembed(self, rows: Activations, slots: Sequence[int]) -> Floats:
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
        """Add a run of one prompt, decoded from `start` on (the last token), and return its number."""
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

    def run(self) -> tuple[Floats, list[Activations]]:
        """Return the margins of the changed runs, in the order they were added, and the rows read."""
        result = self.held.probe.run(self.request)
        return self.held.margins_of(result.logits, self.slots), result.rows

    def margins(self) -> Floats:
        """Return the margins alone."""
        return self.run()[0]


class Place(NamedTuple):
    """Whose prompt a slot holds: the case and its number, the question, and the story's condition."""

    case: Case
    number: int
    question: str
    condition: str

    @property
    def keys(self) -> dict[str, str]:
        """Columns of the rows of this prompt, beside those of its case."""
        return {"condition": self.condition, "question": self.question}


class Chunk(Held):
    """Some cases, their prompts held one after another; slot ^ 1 has the other prompt of a pair.

    Attributes:
        cases: The cases.
        first: Number of the first case in the study.
        places: For each slot whose prompt it holds.
        noise: The noise floor, once it is measured.
    """

    noise: float = 0.0

    def __init__(
        self, probe: Probe, cases: Sequence[Case], *, with_spans: bool = False, first: int = 0
    ) -> None:
        prompts = [prompt for case in cases for prompt in case.prompts]
        super().__init__(probe, prompts, with_spans=with_spans)
        self.cases, self.first = cases, first
        names = list(product(QUESTIONS, CONDITIONS))
        self.places = [
            Place(case, first + i, *names[at])
            for i, case in enumerate(cases)
            for at in range(len(case.prompts))
        ]


def chunks(
    probe: Probe, cases: Sequence[Case], *, with_spans: bool = False, first: int = 0
) -> Iterator[Chunk]:
    """Hold the cases in order, as many at a time as the slots take; each chunk replaces the one before."""
    part: list[Case] = []
    for case in cases:
        if part and sum(len(each.prompts) for each in (*part, case)) > probe.n_slots:
            yield Chunk(probe, part, with_spans=with_spans, first=first)
            first += len(part)
            part = []
        part.append(case)
    if part:
        yield Chunk(probe, part, with_spans=with_spans, first=first)
