"""Prompts are put to a backend, block by block of a plan, and their answers recorded."""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import polars as pl

from misfired.background import in_order
from misfired.progress import Listener
from misfired.prompts.primings import Priming
from misfired.prompts.prompt_set import PromptSet
from misfired.runs.folder import Key, RunFolder
from misfired.runs.plan import Plan
from misfired.scoring.backend import Backend, Row, Tallies, drain

#: Called with (prompts done, prompts in all).
Progress = Callable[[int, int], None]

#: Prompts, evenly spread over all, that a backend looks at before the first shard.
N_SAMPLE = 24


@dataclass
class Asking:
    """A plan on its way through a backend.

    Attributes:
        pairs: The pairs of the plan, with all that the primings need.
        folder: Records each answer, and knows those of an interrupted run.
        counts: Tallies of the shards so far.
    """

    backend: Backend
    plan: Plan
    pairs: pl.DataFrame
    primings: Sequence[Priming]
    folder: RunFolder | None = None
    progress: Listener = field(default_factory=Listener)
    counts: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def __post_init__(self) -> None:
        self.recorded: dict[Key, Row] = self.folder.recorded if self.folder else {}
        self._lock, self._n_done, self._over = threading.Lock(), 0, False
        self._all = PromptSet(self.pairs, tuple(self.primings))

    def ask(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Ask block after block until the plan ends; return the pairs asked and all their answers, in order."""
        self.progress.stage("trial")
        self.backend.open(self._all.spread(N_SAMPLE), len(self._all))
        self.progress.tell_new(self.backend.about())
        self.progress.stage("scoring")
        frames: list[pl.DataFrame] = []
        try:
            for block in range(len(self.plan.blocks)):
                frames += self._answer(self.plan.asked(self.pairs, block, block + 1))
                # A run that is extended never ends before the answers that it began with.
                if self.plan.ends(block, frames) and not self.recorded:
                    break
        finally:
            with self._lock:
                # Threads that nobody waits for any more write nothing to a folder that is left.
                self._over = True
        asked, answers = self.plan.asked(self.pairs, 0, block + 1), pl.concat(frames)
        if self.plan.rule is not None:
            places = asked.select("id").with_row_index("_place")
            answers = answers.join(places, on="id", maintain_order="left")
            answers = answers.sort("_place", maintain_order=True).drop("_place")
        return asked, answers

    @property
    def counted(self) -> str:
        """How many pairs, scenarios and prompts the plan has at most."""
        n_scenarios = self.pairs["scenario"].n_unique()
        return f"{len(self.pairs)} in {n_scenarios} scenarios: {len(self._all)} prompts"

    @property
    def tallies(self) -> Tallies:
        """The counts of all shards, by section of the manifest."""
        return {section: dict(named) for section, named in self.counts.items()}

    def _answer(self, pairs: pl.DataFrame) -> list[pl.DataFrame]:
        prompts = PromptSet(pairs, tuple(self.primings))

        def answer(index: int) -> pl.DataFrame:
            return self._answer_shard(prompts.shard(index)[1])

        shards = range(prompts.n_shards)
        if self.backend.n_parallel == 1:
            return list(map(answer, shards))
        return in_order(answer, shards, self.backend.n_parallel)

    def _answer_shard(self, shard: pl.DataFrame) -> pl.DataFrame:
        n_per_pair, ids = self._all.n_per_pair, shard["id"].to_list()
        keys = [(pair, number % n_per_pair) for number, pair in enumerate(ids)]
        measured: dict[int, Row] = {
            number: self.recorded.pop(key)
            for number, key in enumerate(keys)
            if key in self.recorded
        }
        self._record({}, len(measured))

        def take(rows: list[tuple[int, Row]]) -> None:
            # What is recorded already is not written twice.
            fresh = {number: row for number, row in rows if number not in measured}
            measured.update(fresh)
            self._record({keys[number]: row for number, row in fresh.items()})

        counts = drain(self.backend.answer(shard, dict(measured)), take)
        with self._lock:
            for section, named in counts.items():
                self.counts[section].update(named)
        # Rows also hold their keys in the cache, which are no columns.
        rows = [measured[number] for number in range(len(shard))]
        columns = pl.DataFrame(rows, schema=dict(self.backend.columns))
        return shard.drop("text", "system").hstack(columns)

    def _record(self, fresh: dict[Key, Row], n_known: int = 0) -> None:
        # Shards are answered in threads.
        with self._lock:
            if self._over:
                return
            if self.folder is not None and fresh:
                self.folder.append(fresh.items())
            self._n_done += n_known + len(fresh)
            self.progress(self._n_done, len(self._all))
