"""`misfired plan`: how large a study has to be."""

from dataclasses import dataclass
from typing import Annotated, Any

from typer import Option, echo

from misfired.cli.options import Json, group, takes
from misfired.options import Options, option
from misfired.report.table import json_text, text_table
from misfired.stats import interval_width, minimum_detectable, power, sample_size
from misfired.stats.options import ResamplingOptions

app = group()

_LOSS = "Share of pairs that count against: reverse misfires; 0 to 1."
_Loss = Annotated[float, Option(help=_LOSS)]


@dataclass(frozen=True, kw_only=True)
class DesignOptions(Options):
    """The design of a study; the functions of `misfired.stats.planning` check the values."""

    n_scenarios: int = option(199, help="Number of scenarios.")
    pairs_per_scenario: int = option(10, help="Pairs in each scenario.")
    correlation: float = option(
        0.1, help="How alike pairs of a scenario are, 0 to 1 (intra-class correlation)."
    )
    share: float = option(
        1.0, help="Share of pairs that MAR counts: the contrast accuracy; 1 for joint."
    )
    target: float = option(0.8, help="Wanted power.")
    alpha: float = option(0.05, help="Significance level.")
    alternative: str = option("two-sided", help="two-sided, greater or less.")


@app.command("power")
@takes(DesignOptions, exclude=["share", "target"])
def plan_power(
    *,
    gain: float = Option(help="Share of pairs that misfire; 0 to 1."),
    loss: _Loss,
    n_simulations: int | None = Option(None, help="Simulate instead of using the formula."),
    seed: int = Option(0, help="Seed of the simulation."),
    as_json: Json = False,
    **design: Any,
) -> None:
    """Print the probability that a test finds an asymmetry or a change.

    The test is the cluster sign-flip test.

    Examples:
      misfired plan power --gain 0.08 --loss 0.04
      misfired plan power --gain 0.08 --loss 0.04 --n-simulations 5000 --json
    """
    found = power(gain, loss, n_simulations=n_simulations, rng=seed, **design)
    _print({"power": found}, as_json=as_json)


@app.command("detect")
@takes(DesignOptions)
def plan_detect(*, loss: _Loss, as_json: Json = False, **design: Any) -> None:
    """Print the smallest MAR, or change of MAR, that a test finds.

    In percentage points, by the cluster sign-flip test.

    Examples:
      misfired plan detect --loss 0.04 --share 0.9
      misfired plan detect --loss 0.04 --n-scenarios 25 --target 0.9 --json
    """
    found = minimum_detectable(loss, **design)
    reason = "no difference reaches this power" if found is None else None
    _print({"minimum_detectable": found, "reason": reason}, as_json=as_json)


@app.command("size")
@takes(
    DesignOptions,
    ResamplingOptions,
    only=["pairs_per_scenario", "correlation", "share", "confidence_level"],
)
def plan_size(
    *,
    rate: float = Option(help="Expected MAR in percent."),
    width: float = Option(help="Wanted width of its interval in points."),
    as_json: Json = False,
    **design: Any,
) -> None:
    """Print the fewest scenarios whose interval is no wider than wanted.

    Examples:
      misfired plan size --rate 10 --width 4
      misfired plan size --rate 5 --width 2 --correlation 0.3 --json
    """
    n_scenarios = sample_size(rate, width, **design)
    reached = interval_width(rate, n_scenarios=n_scenarios, **design)
    _print({"n_scenarios": n_scenarios, "width": reached}, as_json=as_json)


def _print(found: dict[str, Any], *, as_json: bool) -> None:
    shown = {k: v for k, v in found.items() if v is not None}
    cells = [f"{v:.3g}" if isinstance(v, float) else str(v) for v in shown.values()]
    echo(json_text(found) if as_json else text_table(list(shown), [cells]))
