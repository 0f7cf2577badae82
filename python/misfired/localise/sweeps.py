"""The probes: lens, patching, heads, late substitution, attention. Each gives one frame of rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import polars as pl

from misfired.errors import ArgumentError
from misfired.localise.cases import Case
from misfired.localise.held import Held, Interventions, Margins, unembed
from misfired.localise.probe import SITES, Probe, Rows
from misfired.prompts.prompt_set import CONDITIONS

DIRECTIONS = ("denoising", "noising")
TARGETS = ("last", "span")
METHODS = ("zero", "mean", "resample", "patch")
POSITIONS = ("last", "all")


@dataclass(frozen=True)
class Chunk:
    """Some cases, their prompts held in slots 2 i (stereotyped) and 2 i + 1 (contrast)."""

    cases: Sequence[Case]
    held: Held

    @staticmethod
    def hold(probe: Probe, cases: Sequence[Case], *, with_spans: bool = False) -> Chunk:
        """Decode both prompts of each case."""
        prompts = [prompt for case in cases for prompt in case.prompts]
        return Chunk(cases, Held(probe, prompts, with_spans=with_spans))

    @property
    def margins(self) -> Margins:
        """Margins of the unchanged runs, shape (case, condition)."""
        return self.held.margins.reshape(-1, 2)

    def rows(self, number: int, **columns: Any) -> pl.DataFrame:
        """Rows of one case: what names the case, then these columns."""
        return case_rows(self.cases[number], **columns)


def case_rows(case: Case, **columns: Any) -> pl.DataFrame:
    """Rows that begin with what names a case; a column is an array, or one value for all rows."""
    keys = {name: getattr(case, name) for name in ("id", "category", "scenario", "kind")}
    fixed = {k: v for k, v in columns.items() if not isinstance(v, np.ndarray)}
    arrays = {k: v for k, v in columns.items() if isinstance(v, np.ndarray)}
    return pl.DataFrame(arrays).select(
        *[pl.lit(value).alias(name) for name, value in {**keys, **fixed}.items()], pl.all()
    )


def lens(chunk: Chunk) -> pl.DataFrame:
    """Margins of the residual stream after each layer, read with the model's own output.

    Returns:
        Columns `id`, `category`, `scenario`, `kind`, `condition`, `layer`, `margin`.
    """
    held, n_layer = chunk.held, chunk.held.probe.n_layer
    rows = held.last["residual"]
    slots = np.repeat(np.arange(len(rows)), n_layer).tolist()
    margins = unembed(held, rows.reshape(len(slots), -1), slots).reshape(-1, 2, n_layer)
    return pl.concat(
        chunk.rows(
            number, condition=condition, layer=np.arange(n_layer), margin=margins[number, side]
        )
        for number in range(len(chunk.cases))
        for side, condition in enumerate(CONDITIONS)
    )


def patch(
    chunk: Chunk,
    *,
    sites: Sequence[str] = SITES,
    targets: Sequence[str] = TARGETS,
    directions: Sequence[str] = DIRECTIONS,
) -> pl.DataFrame:
    """Put one prompt's activations into the other's run, layer by layer.

    `denoising` puts the contrast prompt's into the stereotyped run, `noising` the reverse. Target
    `last` is the last token, `span` the last mention of the person asked about; a case whose persons
    cannot be aligned has no rows for `span`.

    Returns:
        Columns `id`, `category`, `scenario`, `kind`, `site`, `target`, `direction`, `layer`,
        `patched`, `before` (margin of the run without the patch), `donor` (margin of the other run).
    """
    held = chunk.held
    runs = Interventions(held)
    layers = np.arange(held.probe.n_layer)
    frames = []
    for number, case in enumerate(chunk.cases):
        for direction, target, site in product(directions, targets, sites):
            into = 2 * number + DIRECTIONS.index(direction)
            source = into ^ 1
            if target == "span" and case.unaligned is not None:
                continue
            for layer in layers.tolist():
                if target == "last":
                    runs.patch_last(into, site, layer, held.last[site][source, layer])
                else:
                    runs.patch_span(into, site, layer, held.span[site, source][layer])
            frames.append(
                chunk.rows(
                    number,
                    site=site,
                    target=target,
                    direction=direction,
                    layer=layers,
                    before=held.margins[into],
                    donor=held.margins[source],
                )
            )
    return pl.concat(frames).with_columns(pl.Series("patched", runs.margins()))


@dataclass(frozen=True)
class References:
    """Head outputs at the last token of other prompts, for mean and resample ablation.

    Attributes:
        mean: Over all prompts, shape (layer, width).
        donors: For each case and condition, those of the same condition of another case, shape
            (case, condition, layer, width).
    """

    mean: Rows
    donors: Rows

    @staticmethod
    def gather(probe: Probe, cases: Sequence[Case], *, rng: int = 0) -> References:
        """Decode every prompt of the cases once; donors are drawn with the seed `rng`.

        Raises:
            ArgumentError: Fewer than two cases.
        """
        if len(cases) < 2:
            raise ArgumentError(f"resample ablation needs at least 2 cases, there is {len(cases)}")
        found = [Chunk.hold(probe, part).held.last["attention"] for part in chunks(cases, probe)]
        rows = np.concatenate(found).reshape(len(cases), 2, probe.n_layer, -1)
        # A cyclic shift of a random order: everybody gets a donor, nobody is their own.
        order = np.random.default_rng(rng).permutation(len(cases))
        donor = np.empty(len(cases), np.int64)
        donor[order] = np.roll(order, 1)
        mean = rows.reshape(-1, *rows.shape[2:]).mean(axis=0, dtype=np.float64)
        return References(mean.astype(np.float32), rows[donor])


def heads(
    chunk: Chunk,
    *,
    methods: Sequence[str] = METHODS,
    positions: str = "last",
    references: References | None = None,
    first: int = 0,
) -> pl.DataFrame:
    """Change each head's output before the output projection, one head at a time.

    `zero` writes zeros, `mean` the mean over prompts, `resample` another case's output, `patch` the
    output in the pair's other prompt.

    Args:
        chunk: The cases.
        methods: Which of `zero`, `mean`, `resample`, `patch`.
        positions: `last` changes the last token only, `all` every token (`zero` alone).
        references: For `mean` and `resample`.
        first: Number of the chunk's first case in the references.

    Returns:
        Columns `id`, `category`, `scenario`, `kind`, `method`, `condition`, `layer`, `head`,
        `before`, `after` (margins).

    Raises:
        ArgumentError: An unknown method, or one that needs references which are not given.
    """
    check_methods(methods, positions)
    if references is None and {"mean", "resample"} & set(methods):
        raise ArgumentError("mean and resample ablation need references")
    held, probe = chunk.held, chunk.held.probe
    runs = Interventions(held)
    layers, numbers = np.divmod(np.arange(probe.n_layer * probe.n_head), probe.n_head)
    frames = []
    for method, slot in product(methods, range(len(held.prompts))):
        values = _replacement(held, method, slot, references, first)
        for layer, head in product(range(probe.n_layer), range(probe.n_head)):
            _change_head(runs, slot, (layer, head), values, positions)
        frames.append(
            chunk.rows(
                slot // 2,
                method=method,
                condition=CONDITIONS[slot % 2],
                layer=layers,
                head=numbers,
                before=held.margins[slot],
            )
        )
    return pl.concat(frames).with_columns(pl.Series("after", runs.margins()))


def check_methods(methods: Iterable[str], positions: str) -> None:
    """Refuse what `heads` cannot do.

    Raises:
        ArgumentError: An unknown name, or `all` positions with a method other than `zero`.
    """
    for method in methods:
        if method not in METHODS:
            raise ArgumentError(f"method is {method!r}, not one of {', '.join(METHODS)}")
        if positions == "all" and method != "zero":
            raise ArgumentError(f"method {method!r} changes the last token only, not all positions")
    if positions not in POSITIONS:
        raise ArgumentError(f"positions is {positions!r}, not one of {', '.join(POSITIONS)}")


def _replacement(
    held: Held, method: str, slot: int, references: References | None, first: int
) -> Rows | None:
    """Rows (layer, width) to take head outputs from; None is zeros."""
    if method == "zero" or (references is None and method != "patch"):
        return None
    if references is None or method == "patch":
        rows: Rows = held.last["attention"][slot ^ 1]
    elif method == "mean":
        rows = references.mean
    else:
        rows = references.donors[first + slot // 2, slot % 2]
    return rows


def _change_head(
    runs: Interventions,
    slot: int,
    place: tuple[int, int],
    values: Rows | None,
    positions: str,
) -> None:
    probe = runs.held.probe
    layer, head = place
    columns = probe.head_columns(head)
    if values is not None:
        runs.patch_last(slot, "attention", layer, values[layer, columns], column=columns.start)
        return
    n_tokens = len(runs.held.prompts[slot].ids)
    start = n_tokens - 1 if positions == "last" else 0
    job = runs.add(slot, start)
    for position in range(start, n_tokens):
        zero_head(runs, job, place, position)


def zero_head(runs: Interventions, job: int, place: tuple[int, int], position: int) -> None:
    """Set one head's output at one position to zero, before the output projection."""
    probe = runs.held.probe
    start = probe.head_columns(place[1]).start
    runs.request.zero(
        job, "attention", place[0], position, column=start, n_columns=probe.head_width
    )


def ablate_together(held: Held, heads_of_runs: Sequence[Sequence[tuple[int, int]]]) -> Margins:
    """Zero several heads at once at the last token.

    Args:
        held: The prompts.
        heads_of_runs: Sets of (layer, head).

    Returns:
        Margins, shape (set, prompt).
    """
    runs = Interventions(held)
    for chosen in heads_of_runs:
        for slot, prompt in enumerate(held.prompts):
            job = runs.add(slot)
            for place in chosen:
                zero_head(runs, job, place, len(prompt.ids) - 1)
    return runs.margins().reshape(len(heads_of_runs), -1)


def substitution(chunk: Chunk) -> pl.DataFrame:
    """Write the stereotyped run's own residual from its best layer into later layers.

    The best layer is the one with the largest margin in the lens, the last layer excluded.

    Returns:
        Columns `id`, `category`, `scenario`, `kind`, `best_layer`, `best_margin`, `layer` (above the
        best), `before`, `after` (margins).
    """
    held, n_layer = chunk.held, chunk.held.probe.n_layer
    curves = lens(chunk).filter(pl.col("condition") == CONDITIONS[0])
    margins = curves["margin"].to_numpy().reshape(-1, n_layer)
    runs = Interventions(held)
    frames = []
    for number, curve in enumerate(margins):
        slot = 2 * number
        best = int(curve[:-1].argmax()) if n_layer > 1 else 0
        later = np.arange(best + 1, n_layer)
        for layer in later.tolist():
            runs.patch_last(slot, "residual", layer, held.last["residual"][slot, best])
        frames.append(
            chunk.rows(
                number,
                best_layer=best,
                best_margin=float(curve[best]),
                layer=later,
                before=held.margins[slot],
            )
        )
    return pl.concat(frames).with_columns(pl.Series("after", runs.margins()))


def attention(probe: Probe, cases: Sequence[Case]) -> pl.DataFrame:
    """Attention weight from the last token to the two persons, for each head.

    Cases whose persons cannot be aligned have no rows.

    Returns:
        Columns `id`, `category`, `scenario`, `kind`, `condition`, `layer`, `head`, `asked` (weight on
        all mentions of the person asked about) and `other`.

    Raises:
        ArgumentError: The probe runs in mode `fast`, where the weights may never be computed.
    """
    if probe.mode != "exact":
        raise ArgumentError(
            f"attention needs mode exact: in mode {probe.mode} flash attention is on and the weights "
            "are never computed"
        )
    aligned = [case for case in cases if case.unaligned is None]
    weights = probe.attention([prompt.ids for case in aligned for prompt in case.prompts])
    layers, numbers = np.divmod(np.arange(probe.n_layer * probe.n_head), probe.n_head)
    frames = [attention_frame()]
    for number, weight in enumerate(weights):
        case, side = aligned[number // 2], number % 2
        prompt = case.prompts[side]
        asked, other = (
            weight[:, :, list(places)].sum(axis=2, dtype=np.float64).reshape(-1)
            for places in (prompt.asked, prompt.other)
        )
        frames.append(
            case_rows(
                case,
                condition=CONDITIONS[side],
                layer=layers,
                head=numbers,
                asked=asked,
                other=other,
            )
        )
    return pl.concat(frames)


def attention_frame() -> pl.DataFrame:
    """No rows, with the columns of `attention`."""
    words = dict.fromkeys(("id", "category", "scenario", "kind", "condition"), pl.String)
    return pl.DataFrame(
        schema={
            **words,
            **dict.fromkeys(("layer", "head"), pl.Int64),
            **dict.fromkeys(("asked", "other"), pl.Float64),
        }
    )


def chunks(cases: Sequence[Case], probe: Probe) -> list[Sequence[Case]]:
    """Runs of cases that fit into the probe's slots, in order."""
    n = max(1, probe.n_slots // 2)
    return [cases[start : start + n] for start in range(0, len(cases), n)]
