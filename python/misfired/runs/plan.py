"""What a run asks, in which blocks, and when it may end early."""

from dataclasses import asdict, dataclass, field
from typing import Any

import polars as pl

from misfired.errors import DataError
from misfired.prompts.order import scenario_places
from misfired.runs.manifest import pairs_sha256
from misfired.runs.options import RunOptions
from misfired.scoring.options import ScoringOptions
from misfired.stats.outcomes import CONDITIONS, build_outcomes
from misfired.stats.sequential import PRIMING, HalfWidth, Look, Settled

#: Blocks have this many scenarios at least, and a suite this many blocks at most: with more looks a run
#: would end hardly earlier, and prompts of small blocks share less.
N_SCENARIOS, N_BLOCKS = 10, 20


@dataclass(kw_only=True)
class Plan:
    """The pairs that a run asks: all at once, or in blocks of whole scenarios.

    Attributes:
        pairs: The pairs, in the order of the suite.
        blocks: Ids of the pairs of each block, in the order in which they are asked.
        rule: When the run ends early; None: it does not.
        stated: The rule, as the manifest keeps it.
        look_after: Numbers of the blocks after which the rule looks.
        looks: What it saw so far.
    """

    pairs: pl.DataFrame
    blocks: list[pl.Series]
    rule: HalfWidth | Settled | None = None
    stated: dict[str, Any] | None = None
    look_after: tuple[int, ...] = ()
    looks: list[Look] = field(default_factory=list)

    @property
    def n_block(self) -> int | None:
        """Scenarios of a block; None: the run is asked all at once."""
        return None if self.rule is None else block_size(self.pairs["scenario"].n_unique())

    def asked(self, frame: pl.DataFrame, first: int, end: int) -> pl.DataFrame:
        """Return the rows of a frame, by `id`, that the blocks from `first` before `end` ask, in its order."""
        if (first, end) == (0, len(self.blocks)):
            return frame
        ids = pl.concat(self.blocks[first:end])
        return frame.filter(pl.col("id").is_in(ids.to_list()))

    def ends(self, block: int, answers: list[pl.DataFrame]) -> bool:
        """True if the run ends after a block; `answers` are those of all blocks so far."""
        if self.rule is None or block not in self.look_after:
            return False
        self.looks.append(self.rule.look(build_outcomes(pl.concat(answers))))
        # The last look of a comparison may come before the last block: the base has no more pairs.
        return self.looks[-1].ended is not None or block == self.look_after[-1]

    def told(self) -> dict[str, Any]:
        """Return what the manifest tells of the rule: nothing without one."""
        if self.rule is None:
            return {}
        ended = self.looks[-1].ended if self.looks else None
        of = {"suite_sha256": pairs_sha256(self.pairs), "n_pairs": len(self.pairs)}
        of["n_scenarios"] = self.pairs["scenario"].n_unique()
        looks = list(map(asdict, self.looks))
        return {"until": {"rule": self.stated, "of": of, "ended": ended, "looks": looks}}


def plan_for(
    pairs: pl.DataFrame, options: ScoringOptions, base: pl.DataFrame | None = None
) -> Plan:
    """Return the plan for pairs; `base` are the outcomes of the run that the option `against` names.

    Raises:
        DataError: The base shares fewer than `min_scenarios` scenarios with the pairs.
    """
    if not isinstance(options, RunOptions):
        return Plan(pairs=pairs, blocks=[pairs["id"]])
    if options.until is not None:
        return _until(pairs, options, options.until)
    if options.until_decided is not None and base is not None:
        return _until_decided(pairs, options, options.until_decided, base)
    return Plan(pairs=pairs, blocks=[pairs["id"]])


def _until(pairs: pl.DataFrame, options: RunOptions, points: float) -> Plan:
    blocks = in_blocks(pairs, seed=options.seed)
    looks = _looks(pairs, blocks, options.min_scenarios)
    rule = HalfWidth(points=points, confidence_level=options.confidence_level, unit=options.unit)
    stated = _stated(options) | {"until": points}
    return Plan(pairs=pairs, blocks=blocks, rule=rule, stated=stated, look_after=tuple(looks))


def _until_decided(
    pairs: pl.DataFrame, options: RunOptions, points: float, base: pl.DataFrame
) -> Plan:
    base = base.filter(priming=PRIMING)
    shared, least = pairs.join(base, on="id", how="semi"), options.min_scenarios
    blocks = in_blocks(pairs, seed=options.seed)
    looks = _looks(shared, blocks, least)
    if not looks:
        raise DataError(
            f"{options.against}: must share at least {least} scenarios with the pairs (min_scenarios), "
            f"got {shared['scenario'].n_unique()}"
        )
    level, asked = options.confidence_level, tuple(looks.values())
    rule = Settled(
        points=points, base=base, n_scenarios=asked, confidence_level=level, unit=options.unit
    )
    sha256 = pairs_sha256(base.select("id", *CONDITIONS).sort("id"))
    stated = _stated(options) | {"until_decided": points, "against_sha256": sha256}
    return Plan(pairs=pairs, blocks=blocks, rule=rule, stated=stated, look_after=tuple(looks))


def _stated(options: RunOptions) -> dict[str, Any]:
    return {name: getattr(options, name) for name in ("confidence_level", "min_scenarios", "unit")}


def in_blocks(pairs: pl.DataFrame, *, seed: int) -> list[pl.Series]:
    """Return the ids of each block of whole scenarios, in the order that `scenario_places` draws.

    Example:
        >>> pairs = pl.DataFrame({
        ...     "id": [f"p{i}" for i in range(24)], "category": "x",
        ...     "scenario": [f"s{i // 2}" for i in range(24)]})
        >>> [len(ids) for ids in in_blocks(pairs, seed=0)]
        [20, 4]
    """
    names = list(scenario_places(pairs, seed=seed))
    size = block_size(len(names))
    number = {name: place // size for place, name in enumerate(names)}
    numbered = pairs.select("id", _block=pl.col("scenario").replace_strict(number))
    return [numbered.filter(_block=block)["id"] for block in range(-(-len(names) // size))]


def block_size(n_scenarios: int) -> int:
    """Return the scenarios of a block."""
    return max(N_SCENARIOS, -(-n_scenarios // N_BLOCKS))


def _looks(counted: pl.DataFrame, blocks: list[pl.Series], least: int) -> dict[int, int]:
    """Return the blocks after which a rule looks, and how many scenarios of the counted pairs it sees."""
    found: dict[int, int] = {}
    n_scenarios = 0
    for block, ids in enumerate(blocks):
        n_new = counted.filter(pl.col("id").is_in(ids.to_list()))["scenario"].n_unique()
        n_scenarios += n_new
        if n_new and n_scenarios >= least:
            found[block] = n_scenarios
    return found
