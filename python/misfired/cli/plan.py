"""`misfired plan`: how large a study has to be, and how large a rate of zero can be."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import polars as pl
from typer import Option

from misfired.cli.options import Json, group, takes
from misfired.cli.output import echo, echo_data
from misfired.errors import DataError
from misfired.labels import LABELS, labelled
from misfired.options import Options, at_least, between, more_than, option, seeds, within
from misfired.report.table import json_text, text_table
from misfired.stats import interval_width, minimum_detectable, power, sample_size, upper_bound
from misfired.stats.options import LevelOptions
from misfired.tables import read_table

app = group()

_LOSS = "Share of pairs that count against: reverse misfires; 0 to 1."
_Loss = Annotated[float, Option(help=_LOSS)]
_N_SCENARIOS = 199  # VETO's


@dataclass(frozen=True, kw_only=True)
class DesignOptions(Options):
    """The design of a study; the functions of `misfired.stats.planning` check the values."""

    n_scenarios: int | None = option(
        None,
        help="Number of scenarios. Default: the suite's, else 199.",
        check=at_least(1, 100_000),
    )
    pairs_per_scenario: tuple[float, ...] = option(
        (10,), help="Pairs in each scenario: a number, or sizes.", metavar="N,N"
    )
    suite: Path | None = option(None, help="Take the sizes of scenarios from a suite or outcomes.")
    correlation: float = option(
        0.1,
        help="How alike pairs of a scenario are, 0 to 1 (intra-class correlation).",
        check=within(0, 1),
    )
    share: float = option(
        1.0,
        help="Share of pairs that MAR counts: the contrast accuracy; 1 for joint.",
        check=more_than(0, 1),
    )
    target: float = option(0.8, help="Wanted power.", check=between(0, 1))
    alpha: float = option(0.05, help="Significance level.", check=between(0, 1))
    alternative: str = option("two-sided", help="two-sided, greater or less.")
    n_simulations: int = option(4_000, help="Studies to simulate.", check=at_least(1, 1_000_000))
    seed: int = option(0, help="Same seed, same bits.", check=seeds)


@app.command("power")
@takes(DesignOptions, exclude=["share", "target"])
def plan_power(
    *,
    gain: float = Option(help="Share of pairs that misfire; 0 to 1."),
    loss: _Loss,
    as_json: Json = False,
    **design: Any,
) -> None:
    """Print the probability that a test finds an asymmetry or a change.

    The test is the cluster sign-flip test; the probability is simulated.

    Examples:
      misfired plan power --gain 0.08 --loss 0.04
      misfired plan power --gain 0.08 --loss 0.04 --suite pairs.parquet --json
      misfired plan power --gain 0.2 --loss 0.05 --pairs-per-scenario 4,8,20
    """
    found = power(gain, loss, **_design(design))
    _print({"power": found}, as_json=as_json)


@app.command("detect")
@takes(DesignOptions)
def plan_detect(*, loss: _Loss, as_json: Json = False, **design: Any) -> None:
    """Print the smallest MAR, or change of MAR, that a test finds.

    In percentage points, by the cluster sign-flip test.

    Examples:
      misfired plan detect --loss 0.04 --share 0.9 --suite pairs.parquet
      misfired plan detect --loss 0.04 --n-scenarios 25 --target 0.9 --json
    """
    found = minimum_detectable(loss, **_design(design))
    reason = "no difference reaches this power" if found is None else None
    _print({"minimum_detectable": found, "reason": reason}, as_json=as_json)


@app.command("size")
@takes(
    DesignOptions,
    LevelOptions,
    exclude=["n_scenarios", "target", "alpha", "alternative"],
)
def plan_size(
    *,
    rate: float = Option(help="Expected MAR in percent."),
    width: float = Option(help="Wanted width of its interval in points."),
    as_json: Json = False,
    **design: Any,
) -> None:
    """Print the fewest scenarios whose reported interval is no wider than wanted.

    The width is the mean of the default interval over simulated studies.

    Examples:
      misfired plan size --rate 10 --width 4
      misfired plan size --rate 5 --width 2 --suite pairs.parquet --json
    """
    asked = _design(design | {"n_scenarios": None})
    asked.pop("n_scenarios")
    n_scenarios = sample_size(rate, width, **asked)
    reached = interval_width(rate, n_scenarios=n_scenarios, **asked)
    _print({"n_scenarios": n_scenarios, "width": reached}, as_json=as_json)


@app.command("zero")
@takes(LevelOptions)
def plan_zero(
    *,
    n: int = Option(help="Trials: judgements, or pairs."),
    hits: int = Option(0, help="Trials that hit."),
    cluster_size: float = Option(1.0, help="Trials per annotator or scenario."),
    correlation: float = Option(0.0, help="How alike trials of one are, 0 to 1."),
    as_json: Json = False,
    **options: Any,
) -> None:
    """Print how large a rate can be of which none, or few, of n trials were seen.

    In percent: the one-sided exact bound, for none about 300 / n at 95 % (the rule of three).

    Examples:
      misfired plan zero --n 400
      misfired plan zero --n 400 --cluster-size 80 --correlation 0.1 --json
    """
    options |= {"hits": hits, "cluster_size": cluster_size, "correlation": correlation}
    _print({"upper_bound": upper_bound(n, **options)}, as_json=as_json)


def _design(design: dict[str, Any]) -> dict[str, Any]:
    """Return the keywords of the functions of planning, checked."""
    DesignOptions.take(dict(design))
    suite = design.pop("suite")
    sizes = list(design.pop("pairs_per_scenario")) if suite is None else _sizes(suite)
    n_scenarios = design.pop("n_scenarios")
    if n_scenarios is None:
        n_scenarios = _N_SCENARIOS if suite is None else len(sizes)
    rng = design.pop("seed")
    return design | {"pairs_per_scenario": sizes, "n_scenarios": n_scenarios, "rng": rng}


def _sizes(suite: Path) -> list[int]:
    """Return the pairs of each scenario of a suite, or of outcomes; twins are not pairs of their own."""
    table = read_table(suite, labels=LABELS)
    for column in ("id", "scenario"):
        if column not in table.columns:
            raise DataError(f"{suite}: no column {column!r}, only {', '.join(table.columns)}")
    if "twin_of" in table.columns:
        table = table.filter(pl.col("twin_of").is_null())
    table = labelled(table, ["id", "scenario"], str(suite))
    return table.group_by("scenario").agg(pl.col("id").n_unique())["id"].sort().to_list()


def _print(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        echo_data(json_text(found))
        return
    known = {k: v for k, v in found.items() if v is not None}
    cells = [f"{v:.3g}" if isinstance(v, float) else str(v) for v in known.values()]
    echo(text_table(list(known), [cells]))
