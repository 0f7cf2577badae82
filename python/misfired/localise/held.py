"""Prompts held in the cache, with what their last tokens computed, and interventions on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from misfired.localise.cases import Prompt
from misfired.localise.probe import SITES, Ids, Job, Probe, Request, Rows

Margins = npt.NDArray[np.float64]


class Held:
    """Prompts decoded once, each in a slot of its own.

    Attributes:
        margins: Of each prompt, unchanged.
        last: For each site the last token's rows, shape (prompt, layer, width), float32.
        span: For each site and prompt the rows of its span, shape (layer, token, width); empty unless
            asked for.
    """

    def __init__(
        self, probe: Probe, prompts: Sequence[Prompt], *, with_spans: bool = False
    ) -> None:
        """Decode the prompts; at most as many as the probe has slots."""
        self.probe = probe
        self.prompts = list(prompts)
        request = Request()
        places: list[tuple[str, int, int, int]] = []
        for slot, prompt in enumerate(self.prompts):
            job = request.add(Job(prompt.ids, prompt.wanted, keep=slot))
            positions = [len(prompt.ids) - 1]
            positions += list(prompt.span or ()) if with_spans else []
            for site in SITES:
                for layer in range(probe.n_layer):
                    for position in positions:
                        request.read(job, site, layer, position)
                        places.append((site, slot, layer, position))
        result = probe.run(request)
        self.margins = self.margins_of(result.logits, range(len(self.prompts)))
        rows = dict(zip(places, result.rows, strict=True))
        layers = range(probe.n_layer)
        self.last: dict[str, Rows] = {
            site: np.stack(
                [
                    [rows[site, slot, layer, len(prompt.ids) - 1] for layer in layers]
                    for slot, prompt in enumerate(self.prompts)
                ]
            )
            for site in SITES
        }
        self.span: dict[tuple[str, int], Rows] = {}
        for slot, prompt in enumerate(self.prompts):
            if with_spans and prompt.span is not None:
                for site in SITES:
                    self.span[site, slot] = np.stack(
                        [[rows[site, slot, layer, p] for p in prompt.span] for layer in layers]
                    )

    def margins_of(
        self, logits: Sequence[npt.NDArray[np.float64]], slots: Sequence[int]
    ) -> Margins:
        """Margins from logits of the wanted ids of these prompts."""
        pairs = zip(slots, logits, strict=True)
        return np.array([self.prompts[slot].margin(row) for slot, row in pairs])

    def tail(self, slot: int, start: int) -> Ids:
        """Ids from a position on."""
        return self.prompts[slot].ids[start:]


class Interventions:
    """Changed runs of held prompts, gathered and then decoded together.

    Each runs on a sequence of its own, from the first changed position on.
    """

    def __init__(self, held: Held) -> None:
        """Begin with none."""
        self.held = held
        self.request = Request()
        self.slots: list[int] = []

    def add(self, slot: int, start: int | None = None) -> int:
        """A changed run of one prompt that decodes from `start` on, by default its last token."""
        prompt = self.held.prompts[slot]
        start = len(prompt.ids) - 1 if start is None else start
        self.slots.append(slot)
        return self.request.add(Job(prompt.ids[start:], prompt.wanted, parent=slot, n_shared=start))

    def patch_last(
        self, slot: int, site: str, layer: int, values: Rows, *, column: int = 0
    ) -> None:
        """A run whose last token has other values at one site of one layer."""
        job = self.add(slot)
        position = len(self.held.prompts[slot].ids) - 1
        self.request.write(job, site, layer, position, values, column=column)

    def patch_span(self, slot: int, site: str, layer: int, values: Rows) -> None:
        """A run whose person asked about has other values, shape (token, width)."""
        span = self.held.prompts[slot].span
        if span is None:
            raise ValueError("a prompt without a span")
        job = self.add(slot, span.start)
        for position, row in zip(span, values, strict=True):
            self.request.write(job, site, layer, position, row)

    def run(self) -> tuple[Margins, list[Rows]]:
        """Margins of the changed runs, in the order in which they were added, and the rows read."""
        result = self.held.probe.run(self.request)
        return self.held.margins_of(result.logits, self.slots), result.rows

    def margins(self) -> Margins:
        """Margins of the changed runs, in the order in which they were added."""
        return self.run()[0]


def unembed(held: Held, rows: Rows, slots: Sequence[int]) -> Margins:
    """Margins that the model's own output makes of residual rows, each read as one prompt's answer."""
    logits = held.probe.unembed(rows, [held.prompts[slot].wanted for slot in slots])
    return held.margins_of(logits, slots)
