"""Heads: each one's output changed before the output projection, one head at a time."""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import polars as pl

from misfired.errors import ArgumentError
from misfired.localise.cases import Case
from misfired.localise.held import Chunk, Interventions, chunks
from misfired.localise.options import HEAD_METHODS, LocaliseOptions
from misfired.localise.probe import Activations, Probe
from misfired.localise.probes._common import (
    ProbeKind,
    by_condition,
    head_means,
    interval_rows,
    quantity,
    yes_margins,
)
from misfired.prompts.primings import CONDITIONS
from misfired.stats.means import Floats, mean_interval, sign_flip
from misfired.stats.testing import adjust

#: Sign flips by head and false discovery rate. A p-value can be no smaller than 1 / (1 + flips), so that
#: the q-value of a head that passes alone can be as small as a tenth of the rate: one flip more or less
#: that is as large does not decide.
_N_FLIPS = 10


def gather_references(
    probe: Probe, cases: Sequence[Case], options: LocaliseOptions
) -> dict[str, Activations]:
    """Decode every prompt once for the outputs that mean and resample ablation put in place.

    Returns:
        For `mean` the mean at the last token over all prompts, for `resample` the outputs in the same
        prompt of another case, each of shape (case, prompt, layer, width); nothing if neither method is
        asked for.

    Raises:
        ArgumentError: Fewer than two cases.
    """
    if not {"mean", "resample"} & set(options.head_methods):
        return {}
    if len(cases) < 2:
        raise ArgumentError(f"cases must be at least 2 for resample ablation, got {len(cases)}")
    found = [chunk.last["attention"] for chunk in chunks(probe, cases)]
    n_layer, width = found[0].shape[1:]
    rows = np.concatenate(found).reshape(len(cases), -1, n_layer, width)
    # A cyclic shift of a random order: everybody gets a donor, nobody is their own.
    order = np.random.default_rng(options.seed).permutation(len(cases))
    donor = np.empty(len(cases), np.int64)
    donor[order] = np.roll(order, 1)
    mean = rows.mean(axis=(0, 1), dtype=np.float64).astype(np.float32)
    return {"mean": np.broadcast_to(mean, rows.shape), "resample": rows[donor]}


def heads(
    chunk: Chunk,
    *,
    methods: Sequence[str] = HEAD_METHODS,
    positions: str = "last",
    references: Mapping[str, Activations] | None = None,
) -> pl.DataFrame:
    """Change each head's output before the output projection, one head at a time.

    Method `zero` writes zeros, `mean` the mean over prompts, `resample` another case's output (for
    both give `references` from `gather_references`), `patch` the output in the pair's other prompt.
    Positions `last` changes the last token only, `all` every token (`zero` alone).

    Returns:
        Columns `id`, `category`, `scenario`, `kind`, `method`, `condition`, `question`, `before`
        (margin), `noise` (noise floor), `layer`, `head`, `after` (margin).

    Raises:
        ArgumentError: An unknown method, or one that needs references which are not given.
    """
    LocaliseOptions(methods=methods, positions=positions)
    own = chunk.last["attention"]
    study = slice(chunk.first, chunk.first + len(chunk.cases))
    values = {name: rows[study].reshape(own.shape) for name, rows in (references or {}).items()}
    values["patch"] = own[np.arange(len(own)) ^ 1]
    if not set(methods) <= {"zero", *values}:
        raise ArgumentError("references must be given for methods mean and resample, got none")
    runs = Interventions(chunk)
    layers, numbers = np.array(chunk.probe.heads).T
    frames = []
    slots = list(zip(chunk.places, chunk.prompts, strict=True))
    for method, (slot, (place, prompt)) in product(methods, enumerate(slots)):
        start = 0 if positions == "all" else prompt.last
        for layer, head in chunk.probe.heads:
            columns = chunk.probe.head_columns(head)
            if method == "zero":
                job = runs.add(slot, start)
                for position in range(start, prompt.last + 1):
                    runs.zero(job, "attention", layer, position, columns)
            else:
                row = values[method][slot, layer, columns]
                runs.patch_last(slot, "attention", layer, row, column=columns.start)
        keys = {"method": method, **place.keys, "before": chunk.margins[slot], "noise": chunk.noise}
        frames.append(place.case.rows(**keys, layer=layers, head=numbers))
    return pl.concat(frames).with_columns(after=runs.margins())


def head_map(rows: pl.DataFrame, options: LocaliseOptions) -> pl.DataFrame:
    r"""Average the specificity of each head on the failures, with intervals and false discovery rate.

    With :math:`\Delta` the change of the evidence (the margin of yes for the true question minus that
    for the false one about the same story) when the head is changed, specificity is the mean of :math:`\Delta_{stereotyped} - |\Delta_{contrast}|`: a head that merely
    breaks both answers scores below 0. For method `patch`, where the contrast prompt is given the
    stereotyped prompt's output and so should lose what the other gains, it is the mean of
    :math:`(\Delta_{stereotyped} - \Delta_{contrast}) / 2`. A head `passes` if a one-sided sign-flip
    test over scenarios finds its specificity above `min_effect` times the mean \|margin\| of all runs
    (and above the noise floor), at false discovery rate `alpha` over the whole map of one method.
    A head that moves the margin of yes alike for both questions is a leaning, not evidence: compare
    `true_question` and `false_question`, its mean changes in the stereotyped story. Without false
    questions :math:`\Delta` is of the margin of the right answer, which cannot tell the two apart.

    Returns:
        Columns `model`, `method`, `layer`, `head`, `stereotyped`, `contrast` (mean changes),
        `specificity`, `low`, `high`, `p_value`, `q_value`, `passes`, `rank` (1 is the most specific),
        `true_question`, `false_question` (null without false questions), `quantity` (`evidence` or
        `margin`), `reason` (why there is no interval).
    """
    frames = []
    own = rows.filter(kind="failure")
    for (model, method), part in own.group_by("model", "method", maintain_order=True):
        specificity, scenarios, means = specificity_of(part)
        found = mean_interval(specificity, scenarios, **options.statistics)
        size, noise = part.select(pl.col("before").abs().mean(), pl.col("noise").max()).row(0)
        bar = max(options.min_effect * size, noise)
        own_story = part.filter(condition=CONDITIONS[0])
        yes = yes_margins(own_story, pl.col("after") - pl.col("before"))
        n_flips = max(
            options.n_resamples, int(np.ceil(_N_FLIPS * specificity.shape[1] / options.alpha))
        )
        p = sign_flip(specificity - bar, scenarios, n_resamples=n_flips, rng=options.seed)
        q = adjust(p, method="bh")
        table = interval_rows(found, scenarios, model=model, method=method, **means.to_dict())
        rank = pl.col("value").rank("ordinal", descending=True)
        tested = table.select(
            pl.exclude("n_pairs", "n_scenarios", "reason"), p_value=p, q_value=q,
            passes=q < options.alpha, rank=rank, **yes, quantity=pl.lit(quantity(part)),
            reason="reason",
        )  # fmt: skip
        frames.append(tested)
    return pl.concat(frames).rename({"value": "specificity"})


def specificity_of(rows: pl.DataFrame) -> tuple[Floats, list[str], pl.DataFrame]:
    """Return the specificity of every head on every pair, from rows of one model and one method.

    It is as `head_map` defines it, shape (pair, head). After it come the scenario of each pair, and
    for each head its mean changes, as `head_means` returns them.
    """
    left, right, scenarios = by_condition(rows, pl.col("after") - pl.col("before"))
    patches = rows["method"][0] == "patch"
    specificity = (left - right) / 2 if patches else left - np.abs(right)
    return specificity, scenarios, head_means(rows, left, right)


PROBE = ProbeKind(
    sweep=lambda chunk, options, references: heads(
        chunk, methods=options.head_methods, positions=options.positions, references=references
    ),
    prepare=gather_references,
    tables={"head_map": head_map},
    n_runs=lambda probe, options: len(options.head_methods) * len(probe.heads),
    on_base=True,
)
