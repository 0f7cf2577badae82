"""From rows of the probes to curves, head maps and single figures, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from misfired.prompts.prompt_set import CONDITIONS
from misfired.stats.means import MeanInterval, mean_interval, sign_flip
from misfired.stats.testing import adjust

Floats = npt.NDArray[np.float64]

#: The onset is the layer from which on a curve stays at or above this share of its last value.
ONSET_SHARE = 0.5

#: A head, or a gap between the conditions, counts only above this share of the mean |margin|.
MIN_EFFECT = 0.1

_KEYS = ["id", "scenario"]


def lens_curves(lens: pl.DataFrame, **options: Any) -> pl.DataFrame:
    """Mean margin by layer, for each model, kind and condition, and for the gap between conditions.

    Args:
        lens: Rows of the lens with a column `model`.
        options: Of `misfired.stats.means.mean_interval`.

    Returns:
        Columns `model`, `kind`, `condition` (or `gap`: contrast minus stereotyped), `layer`, `value`,
        `low`, `high`, `n_pairs`, `n_scenarios`.
    """
    rows = []
    for (model, kind), part in lens.group_by("model", "kind", maintain_order=True):
        curves, scenarios = _lens_arrays(part)
        for name, values in curves.items():
            found = mean_interval(values, scenarios, **options)
            rows += _layers(found, {"model": model, "kind": kind, "condition": name}, scenarios)
    return pl.DataFrame(rows)


def lens_figures(lens: pl.DataFrame, **options: Any) -> pl.DataFrame:
    """Where the stereotyped curve leaves the contrast curve, and how many curves rise and then fall.

    For each model and kind: `greatest_divergence` (layer of the largest mean gap, contrast minus
    stereotyped), `onset_of_suppression` (layer from which on the mean gap stays at or above half of
    its last value; null where that is not above `MIN_EFFECT` of the mean |margin|: nothing is
    suppressed), and `rises_then_falls` (percent of pairs whose stereotyped margin is above 0 at some
    layer, though at or below 0 after the last).

    Returns:
        Columns `probe`, `model`, `kind`, `measure`, `value`, `low`, `high`, `n_pairs`, `n_scenarios`.
    """
    rows = []
    for (model, kind), part in lens.group_by("model", "kind", maintain_order=True):
        curves, scenarios = _lens_arrays(part)
        stereotyped = curves[CONDITIONS[0]]
        last = [np.abs(curves[name][:, -1:]) for name in CONDITIONS]
        scale = (last[0] + last[1]) / 2
        falls = (stereotyped[:, :-1].max(axis=1, initial=-np.inf) > 0) & (stereotyped[:, -1] <= 0)
        found = {
            "greatest_divergence": mean_interval(curves["gap"], scenarios, greatest, **options),
            "onset_of_suppression": mean_interval(
                np.hstack([curves["gap"], scale]), scenarios, onset, **options
            ),
            "rises_then_falls": mean_interval(100.0 * falls[:, None], scenarios, **options),
        }
        keys = {"probe": "lens", "model": model, "kind": kind}
        rows += [_figure(keys, measure, value, scenarios) for measure, value in found.items()]
    return pl.DataFrame(rows)


def greatest(gap: Floats) -> Floats:
    """The layer of the largest value, shape (..., layer) to (..., 1).

    Example:
        >>> greatest(np.array([0.0, 3.0, 2.0])).tolist()
        [1.0]
    """
    layers: Floats = gap.argmax(axis=-1)[..., None].astype(np.float64)
    return layers


def onset(means: Floats) -> Floats:
    """The layer from which on the gap stays at or above half of its last value.

    Args:
        means: The gap by layer, and after it the mean |margin|; shape (..., layer + 1).

    Returns:
        Shape (..., 1); NaN where the last gap is not above `MIN_EFFECT` of the mean |margin|.

    Example:
        >>> onset(np.array([0.0, 5.0, 1.0, 2.0, 3.0, 1.0])).tolist()
        [3.0]
    """
    gap, scale = means[..., :-1], means[..., -1:]
    return np.where(
        gap[..., -1:] > MIN_EFFECT * scale, _stays(gap, ONSET_SHARE * gap[..., -1:]), np.nan
    )


def _stays(curve: Floats, bar: Floats) -> Floats:
    """First layer from which on the curve is never below the bar; NaN if its last value is."""
    below = curve < bar
    n_layer = curve.shape[-1]
    # Layers after the last one below the bar.
    first = n_layer - np.argmax(below[..., ::-1], axis=-1)[..., None].astype(np.float64)
    first = np.where(below.any(axis=-1, keepdims=True), first, 0.0)
    return np.where(below[..., -1:], np.nan, first)


def recovery_curves(patched: pl.DataFrame, **options: Any) -> pl.DataFrame:
    r"""Recovery by layer as a ratio of means: :math:`\sum (patched - before) / \sum (donor - before)`.

    1 means that the patch carries the whole difference between the two prompts. For `noising` the
    donor is the stereotyped run, so that 1 means that the patch alone makes the contrast answer as
    wrong. Failures only: where both runs are right there is no difference to recover.

    Returns:
        Columns `site`, `target`, `direction`, `layer`, `value`, `low`, `high`, `flipped` (percent of
        pairs whose answer changes), `n_pairs`, `n_scenarios`.
    """
    rows = []
    names = ["site", "target", "direction"]
    failures = patched.filter(pl.col("kind") == "failure")
    for keys, part in failures.group_by(names, maintain_order=True):
        changes, scenarios = _wide(part, pl.col("patched") - pl.col("before"))
        whole, _ = _wide(part, pl.col("donor") - pl.col("before"))
        flips, _ = _wide(part, (pl.col("patched") > 0) != (pl.col("before") > 0))
        found = mean_interval(np.hstack([changes, whole]), scenarios, _ratio, **options)
        labels = dict(zip(names, keys, strict=True))
        rows += [
            {**row, "flipped": 100.0 * share}
            for row, share in zip(
                _layers(found, labels, scenarios), flips.mean(axis=0).tolist(), strict=True
            )
        ]
    return pl.DataFrame(rows)


def recovery_figures(patched: pl.DataFrame, **options: Any) -> pl.DataFrame:
    """For each site, target and direction the first layer with at least half of the whole recovery.

    Returns:
        The columns of `lens_figures`; `measure` is `onset_of_recovery`, `probe` names the patch.
    """
    rows = []
    failures = patched.filter(pl.col("kind") == "failure")
    for keys, part in failures.group_by("site", "target", "direction", maintain_order=True):
        changes, scenarios = _wide(part, pl.col("patched") - pl.col("before"))
        whole, _ = _wide(part, pl.col("donor") - pl.col("before"))
        found = mean_interval(
            np.hstack([changes, whole]),
            scenarios,
            lambda means: _first_half(_ratio(means)),
            **options,
        )
        labels = {"probe": "patch " + " ".join(map(str, keys)), "model": "instruct"}
        rows.append(_figure({**labels, "kind": "failure"}, "onset_of_recovery", found, scenarios))
    return pl.DataFrame(rows)


def _first_half(recovery: Floats) -> Floats:
    reached = recovery >= ONSET_SHARE
    first = reached.argmax(axis=-1)[..., None].astype(np.float64)
    return np.where(reached.any(axis=-1, keepdims=True), first, np.nan)


def _ratio(means: Floats) -> Floats:
    n = means.shape[-1] // 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return means[..., :n] / means[..., n:]


def head_map(
    heads: pl.DataFrame,
    *,
    alpha: float = 0.05,
    min_effect: float = MIN_EFFECT,
    n_resamples: int = 10_000,
    confidence_level: float = 0.95,
    rng: int = 0,
) -> pl.DataFrame:
    r"""Specificity of each head on the failures, with intervals and false discovery rate.

    With :math:`\Delta` the change of the margin towards the right answer when the head is changed,
    specificity is the mean of :math:`\Delta_{stereotyped} - |\Delta_{contrast}|`: a head that merely
    breaks both answers scores below 0. For method `patch`, where the contrast prompt is given the
    stereotyped prompt's output and so should lose what the other gains, it is the mean of
    :math:`(\Delta_{stereotyped} - \Delta_{contrast}) / 2`. A head `passes` if a one-sided sign-flip test over scenarios
    finds its specificity above `min_effect` times the mean \|margin\| of all runs, at false discovery
    rate `alpha` over the whole map of one method.

    Returns:
        Columns `model`, `method`, `layer`, `head`, `stereotyped`, `contrast` (mean changes),
        `specificity`, `low`, `high`, `p_value`, `q_value`, `passes`, `rank` (1 is the most specific).
    """
    frames = []
    failures = heads.filter(pl.col("kind") == "failure")
    for (model, method), part in failures.group_by("model", "method", maintain_order=True):
        specificity, scenarios, places = specificity_of(part)
        found = mean_interval(
            specificity,
            scenarios,
            n_resamples=n_resamples,
            confidence_level=confidence_level,
            rng=rng,
        )
        bar = min_effect * float(part["before"].abs().mean())  # type: ignore[arg-type]
        n_heads = specificity.shape[1]
        # A p-value can be no smaller than 1 / (1 + flips): enough flips for one head to pass alone.
        n_flips = max(n_resamples, int(np.ceil(2 * n_heads / alpha)))
        p = sign_flip(specificity - bar, scenarios, n_resamples=n_flips, rng=rng)
        q = adjust(p, method="bh")
        frames.append(
            places.with_columns(
                pl.lit(model).alias("model"),
                pl.lit(method).alias("method"),
                pl.Series("specificity", found.value),
                pl.Series("low", found.low),
                pl.Series("high", found.high),
                pl.Series("p_value", p),
                pl.Series("q_value", q),
                pl.Series("passes", q < alpha),
            ).with_columns(pl.col("specificity").rank("ordinal", descending=True).alias("rank"))
        )
    first = ["model", "method", "layer", "head"]
    whole = pl.concat(frames)
    return whole.select(*first, *[name for name in whole.columns if name not in first])


def specificity_of(heads: pl.DataFrame) -> tuple[Floats, list[str], pl.DataFrame]:
    """Specificity of every head on every pair.

    Args:
        heads: Rows of the head sweep, of one model and one method.

    Returns:
        Specificity as `head_map` defines it, shape (pair, head); the scenario of each pair; and a frame with one row per head: `layer`, `head`,
        and the mean changes `stereotyped` and `contrast`.
    """
    change = pl.col("after") - pl.col("before")
    (left, scenarios), (right, _) = (
        _wide(heads.filter(pl.col("condition") == name), change, columns=("layer", "head"))
        for name in CONDITIONS
    )
    places = heads.select("layer", "head").unique().sort("layer", "head")
    places = places.with_columns(
        pl.Series("stereotyped", left.mean(axis=0)), pl.Series("contrast", right.mean(axis=0))
    )
    patches = heads["method"][0] == "patch"
    return (left - right) / 2 if patches else left - np.abs(right), scenarios, places


def attention_map(attention: pl.DataFrame, **options: Any) -> pl.DataFrame:
    """Attention on the person asked about and on the other, stereotyped minus contrast.

    Returns:
        Columns `kind`, `layer`, `head`, `person` (`asked` or `other`), `stereotyped`, `contrast`
        (mean weights), `difference`, `low`, `high`, `n_pairs`, `n_scenarios`.
    """
    rows = []
    for (kind,), part in attention.group_by("kind", maintain_order=True):
        for person in ("asked", "other"):
            sides = [
                _wide(
                    part.filter(pl.col("condition") == name),
                    pl.col(person),
                    columns=("layer", "head"),
                )
                for name in CONDITIONS
            ]
            (left, scenarios), (right, _) = sides
            found = mean_interval(left - right, scenarios, **options)
            places = part.select("layer", "head").unique().sort("layer", "head")
            rows.append(
                places.with_columns(
                    pl.lit(kind).alias("kind"),
                    pl.lit(person).alias("person"),
                    pl.Series("stereotyped", left.mean(axis=0)),
                    pl.Series("contrast", right.mean(axis=0)),
                    pl.Series("difference", found.value),
                    pl.Series("low", found.low),
                    pl.Series("high", found.high),
                    pl.lit(len(left)).alias("n_pairs"),
                    pl.lit(len(set(scenarios))).alias("n_scenarios"),
                )
            )
    return pl.concat(rows).select("kind", pl.exclude("kind")) if rows else pl.DataFrame()


def substitution_figures(substitution: pl.DataFrame, **options: Any) -> pl.DataFrame:
    """Of the failures, the share that late substitution turns right, and the first layer that does.

    Returns:
        The columns of `lens_figures`; measures `flipped` (percent with any layer that turns the answer
        right), `best_layer` (mean) and `first_flip` (mean layer, of those that turn).
    """
    failures = substitution.filter(pl.col("kind") == "failure")
    if failures.is_empty():
        return pl.DataFrame()
    turned = pl.when(pl.col("after") > 0).then(pl.col("layer")).min().alias("first")
    pairs = failures.group_by(_KEYS, maintain_order=True).agg(turned, pl.col("best_layer").first())
    scenarios = pairs["scenario"].to_list()
    flips = pairs["first"].is_not_null().to_numpy().astype(np.float64)
    first = pairs["first"].fill_null(0).to_numpy().astype(np.float64)
    best = pairs["best_layer"].to_numpy().astype(np.float64)
    found = {
        "flipped": mean_interval(100.0 * flips[:, None], scenarios, **options),
        "best_layer": mean_interval(best[:, None], scenarios, **options),
        "first_flip": mean_interval(np.stack([first, flips], axis=1), scenarios, _ratio, **options),
    }
    keys = {"probe": "substitution", "model": "instruct", "kind": "failure"}
    return pl.DataFrame([_figure(keys, name, value, scenarios) for name, value in found.items()])


def _lens_arrays(part: pl.DataFrame) -> tuple[dict[str, Floats], list[str]]:
    curves = {}
    scenarios: list[str] = []
    for name in CONDITIONS:
        side = part.filter(pl.col("condition") == name)
        curves[name], scenarios = _wide(side, pl.col("margin"))
    curves["gap"] = curves["contrast"] - curves["stereotyped"]
    return curves, scenarios


def _wide(
    rows: pl.DataFrame, value: pl.Expr, *, columns: Sequence[str] = ("layer",)
) -> tuple[Floats, list[str]]:
    """One row per pair, one column per layer (or head), and the scenario of each pair."""
    pairs = rows.select(_KEYS).unique(maintain_order=True)
    order = {name: place for place, name in enumerate(pairs["id"])}
    ordered = rows.with_columns(value.cast(pl.Float64).alias("_value")).sort(
        pl.col("id").replace_strict(order, return_dtype=pl.Int64), *columns
    )
    return ordered["_value"].to_numpy().reshape(len(pairs), -1), pairs["scenario"].to_list()


def _layers(
    found: MeanInterval, keys: dict[str, Any], scenarios: Sequence[str]
) -> list[dict[str, Any]]:
    return [
        {
            **keys,
            "layer": layer,
            "value": float(found.value[layer]),
            "low": float(found.low[layer]),
            "high": float(found.high[layer]),
            "n_pairs": len(scenarios),
            "n_scenarios": len(set(scenarios)),
        }
        for layer in range(len(found.value))
    ]


def _figure(
    keys: dict[str, Any], measure: str, found: MeanInterval, scenarios: Sequence[str]
) -> dict[str, Any]:
    row = {**keys, "measure": measure, **_layers(found, {}, scenarios)[0]}
    del row["layer"]
    return {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in row.items()}
