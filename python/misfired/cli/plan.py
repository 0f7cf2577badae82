"""`misfired plan`: how large a study has to be."""

from typing import Annotated, Any

import typer

from misfired.cli.output import print_json, print_table
from misfired.stats import interval_width, minimum_detectable, power, sample_size

app = typer.Typer(
    help="How many scenarios a study needs, and what it can detect.", no_args_is_help=True
)

Scenarios = Annotated[int, typer.Option(help="Number of scenarios.")]
Pairs = Annotated[int, typer.Option(help="Pairs in each scenario.")]
Correlation = Annotated[
    float, typer.Option(help="How alike pairs of a scenario are, 0 to 1 (intra-class correlation).")
]
Loss = Annotated[
    float, typer.Option(help="Share of pairs that count against: reverse misfires; 0 to 1.")
]
Share = Annotated[
    float, typer.Option(help="Share of pairs that MAR counts: the contrast accuracy; 1 for joint.")
]
Alpha = Annotated[float, typer.Option(help="Significance level.")]
Alternative = Annotated[str, typer.Option(help="two-sided, greater or less.")]
Level = Annotated[float, typer.Option(help="Between 0 and 1.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]


@app.command("power")
def plan_power(
    *,
    gain: Annotated[float, typer.Option(help="Share of pairs that misfire; 0 to 1.")],
    loss: Loss,
    n_scenarios: Scenarios = 199,
    pairs_per_scenario: Pairs = 10,
    correlation: Correlation = 0.1,
    alpha: Alpha = 0.05,
    alternative: Alternative = "two-sided",
    n_simulations: Annotated[
        int | None, typer.Option(help="Simulate instead of using the formula.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the simulation.")] = 0,
    as_json: Json = False,
) -> None:
    """The probability that a test finds an asymmetry or a change.

    The test is the cluster sign-flip test.

    For example:

      misfired plan power --gain 0.08 --loss 0.04

      misfired plan power --gain 0.08 --loss 0.04 --n-scenarios 25 --n-simulations 5000 --json
    """
    found = power(
        gain, loss, n_scenarios=n_scenarios, pairs_per_scenario=pairs_per_scenario,
        correlation=correlation, alpha=alpha, alternative=alternative, n_simulations=n_simulations,
        rng=seed,
    )  # fmt: skip
    _print({"power": found}, as_json=as_json)


@app.command("detect")
def plan_detect(
    *,
    loss: Loss,
    n_scenarios: Scenarios = 199,
    pairs_per_scenario: Pairs = 10,
    correlation: Correlation = 0.1,
    share: Share = 1.0,
    target: Annotated[float, typer.Option(help="Wanted power.")] = 0.8,
    alpha: Alpha = 0.05,
    alternative: Alternative = "two-sided",
    as_json: Json = False,
) -> None:
    """The smallest MAR, or change of MAR, that a test finds.

    In percentage points, by the cluster sign-flip test.

    For example:

      misfired plan detect --loss 0.04 --share 0.9

      misfired plan detect --loss 0.04 --n-scenarios 25 --target 0.9 --json
    """
    found = minimum_detectable(
        loss, n_scenarios=n_scenarios, pairs_per_scenario=pairs_per_scenario, target=target,
        correlation=correlation, share=share, alpha=alpha, alternative=alternative,
    )  # fmt: skip
    reason = "no difference reaches this power" if found is None else None
    _print({"minimum_detectable": found, "reason": reason}, as_json=as_json)


@app.command("size")
def plan_size(
    *,
    rate: Annotated[float, typer.Option(help="Expected MAR in percent.")],
    width: Annotated[float, typer.Option(help="Wanted width of its interval in points.")],
    pairs_per_scenario: Pairs = 10,
    correlation: Correlation = 0.1,
    share: Share = 1.0,
    confidence_level: Level = 0.95,
    as_json: Json = False,
) -> None:
    """The fewest scenarios whose interval is no wider than wanted.

    For example:

      misfired plan size --rate 10 --width 4

      misfired plan size --rate 5 --width 2 --pairs-per-scenario 20 --correlation 0.3 --json
    """
    design: dict[str, Any] = {
        "pairs_per_scenario": pairs_per_scenario,
        "correlation": correlation,
        "share": share,
        "confidence_level": confidence_level,
    }
    n_scenarios = sample_size(rate, width, **design)
    reached = interval_width(rate, n_scenarios=n_scenarios, **design)
    _print({"n_scenarios": n_scenarios, "width": reached}, as_json=as_json)


def _print(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    shown = {k: v for k, v in found.items() if v is not None}
    cells = [f"{v:.3g}" if isinstance(v, float) else str(v) for v in shown.values()]
    print_table(list(shown), [cells])
