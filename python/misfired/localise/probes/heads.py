"""Heads: each one's output changed before the output projection, one head at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import polars as pl

from misfired.errors import ArgumentError
from misfired.localise.cases import Case
from misfired.localise.held import Chunk, Held, Interventions, case_rows, chunks
from misfired.localise.options import HEAD_METHODS, LocaliseOptions
from misfired.localise.probe import Activations, Probe
from misfired.localise.probes._common import Floats, ProbeKind, by_head, failures
from misfired.prompts.primings import CONDITIONS
from misfired.stats.means import mean_interval, sign_flip
from misfired.stats.testing import adjust

_NEED_REFERENCES = {"mean", "resample"}


@dataclass(frozen=True)
class References:
    """Head outputs at the last token of other prompts, for mean and resample ablation.

    Attributes:
        mean: Over all prompts, shape (layer, width).
        donors: For each case and condition, those of the same condition of another case, shape
            (case, condition, layer, width).
    """

    mean: Activations
    donors: Activations

    @staticmethod
    def gather(probe: Probe, cases: Sequence[Case], *, seed: int = 0) -> References:
        """Decode every prompt of the cases once and draw the donors.

        Raises:
            ArgumentError: Fewer than two cases.
        """
        if len(cases) < 2:
            raise ArgumentError(f"cases must be at least 2 for resample ablation, got {len(cases)}")
        found = [Chunk.hold(probe, part).held.last["attention"] for part in chunks(cases, probe)]
        rows = np.concatenate(found).reshape(len(cases), 2, probe.n_layer, -1)
        # A cyclic shift of a random order: everybody gets a donor, nobody is their own.
        order = np.random.default_rng(seed).permutation(len(cases))
        donor = np.empty(len(cases), np.int64)
        donor[order] = np.roll(order, 1)
        mean = rows.reshape(-1, *rows.shape[2:]).mean(axis=0, dtype=np.float64)
        return References(mean.astype(np.float32), rows[donor])


def heads(
    chunk: Chunk,
    *,
    methods: Sequence[str] = HEAD_METHODS,
    positions: str = "last",
    references: References | None = None,
) -> pl.DataFrame:
    """Change each head's output before the output projection, one head at a time.

    `zero` writes zeros, `mean` the mean over prompts, `resample` another case's output, `patch` the
    output in the pair's other prompt.

    Args:
        chunk: The cases.
        methods: Which of `zero`, `mean`, `resample`, `patch`.
        positions: `last` changes the last token only, `all` every token (`zero` alone).
        references: For `mean` and `resample`.

    Returns:
        Columns `id`, `category`, `scenario`, `kind`, `method`, `condition`, `layer`, `head`,
        `before`, `after` (margins).

    Raises:
        ArgumentError: An unknown method, or one that needs references which are not given.
    """
    LocaliseOptions(methods=methods, positions=positions)
    if references is None and _NEED_REFERENCES & set(methods):
        raise ArgumentError("references must be given for methods mean and resample, got none")
    held, probe = chunk.held, chunk.held.probe
    runs = Interventions(held)
    layers, numbers = np.divmod(np.arange(probe.n_layer * probe.n_head), probe.n_head)
    frames = []
    for method, slot in product(methods, range(len(held.prompts))):
        case = chunk.first + slot // 2
        values = _replacement(held, method, slot, case, references)
        for place in product(range(probe.n_layer), range(probe.n_head)):
            _change_head(runs, slot, place, values, positions)
        frames.append(
            case_rows(
                chunk.cases[slot // 2],
                method=method,
                condition=CONDITIONS[slot % 2],
                layer=layers,
                head=numbers,
                before=held.margins[slot],
            )
        )
    return pl.concat(frames).with_columns(pl.Series("after", runs.margins()))


def _replacement(
    held: Held, method: str, slot: int, case: int, references: References | None
) -> Activations | None:
    """Return activations (layer, width) to take head outputs from; None for zeros."""
    rows: Activations | None = None
    if method == "patch":
        rows = held.last["attention"][slot ^ 1]
    elif references is not None and method != "zero":
        rows = references.mean if method == "mean" else references.donors[case, slot % 2]
    return rows


def _change_head(
    runs: Interventions,
    slot: int,
    place: tuple[int, int],
    values: Activations | None,
    positions: str,
) -> None:
    layer, head = place
    columns = runs.held.probe.head_columns(head)
    if values is not None:
        runs.patch_last(slot, "attention", layer, values[layer, columns], column=columns.start)
        return
    last = runs.held.prompts[slot].last
    start = last if positions == "last" else 0
    job = runs.add(slot, start)
    for position in range(start, last + 1):
        runs.zero(job, "attention", layer, position, columns)


def head_map(rows: pl.DataFrame, options: LocaliseOptions) -> pl.DataFrame:
    r"""Average the specificity of each head on the failures, with intervals and false discovery rate.

    With :math:`\Delta` the change of the margin towards the right answer when the head is changed,
    specificity is the mean of :math:`\Delta_{stereotyped} - |\Delta_{contrast}|`: a head that merely
    breaks both answers scores below 0. For method `patch`, where the contrast prompt is given the
    stereotyped prompt's output and so should lose what the other gains, it is the mean of
    :math:`(\Delta_{stereotyped} - \Delta_{contrast}) / 2`. A head `passes` if a one-sided sign-flip
    test over scenarios finds its specificity above `min_effect` times the mean \|margin\| of all runs,
    at false discovery rate `alpha` over the whole map of one method.

    Returns:
        Columns `model`, `method`, `layer`, `head`, `stereotyped`, `contrast` (mean changes),
        `specificity`, `low`, `high`, `p_value`, `q_value`, `passes`, `rank` (1 is the most specific).
    """
    frames = []
    for (model, method), part in failures(rows).group_by("model", "method", maintain_order=True):
        specificity, scenarios, places = specificity_of(part)
        found = mean_interval(specificity, scenarios, **options.statistics)
        bar = options.min_effect * float(part["before"].abs().mean())  # type: ignore[arg-type]
        # A p-value can be no smaller than 1 / (1 + flips): enough flips for one head to pass alone.
        n_flips = max(options.n_resamples, int(np.ceil(2 * specificity.shape[1] / options.alpha)))
        p = sign_flip(specificity - bar, scenarios, n_resamples=n_flips, rng=options.seed)
        q = adjust(p, method="bh")
        names = [pl.lit(model).alias("model"), pl.lit(method).alias("method")]
        frames.append(
            places.select(*names, pl.all())
            .with_columns(
                specificity=found.value,
                low=found.low,
                high=found.high,
                p_value=p,
                q_value=q,
                passes=q < options.alpha,
            )
            .with_columns(rank=pl.col("specificity").rank("ordinal", descending=True))
        )
    return pl.concat(frames)


def specificity_of(rows: pl.DataFrame) -> tuple[Floats, list[str], pl.DataFrame]:
    """Return the specificity of every head on every pair.

    Args:
        rows: Rows of the head sweep, of one model and one method.

    Returns:
        Specificity as `head_map` defines it, shape (pair, head); the scenario of each pair; and a
        frame with one row per head: `layer`, `head`, and the mean changes `stereotyped` and
        `contrast`.
    """
    left, right, scenarios, places = by_head(rows, pl.col("after") - pl.col("before"))
    patches = rows["method"][0] == "patch"
    return (left - right) / 2 if patches else left - np.abs(right), scenarios, places


PROBE = ProbeKind(
    sweep=lambda chunk, options, references: heads(
        chunk,
        methods=options.head_methods,
        positions=options.positions,
        references=references,
    ),
    prepare=lambda probe, cases, options: (
        References.gather(probe, cases, seed=options.seed)
        if _NEED_REFERENCES & set(options.head_methods)
        else None
    ),
    tables={"head_map": head_map},
    on_base=True,
)
