"""`localise`: all probes on the failures of a run and on their matched controls."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from misfired.localise.ablation import CHOOSING_METHOD, ablation_test, check_n_heads
from misfired.localise.cases import Case
from misfired.localise.check import check_probe, redecoding
from misfired.localise.held import chunks
from misfired.localise.options import LocaliseOptions
from misfired.localise.probe import Probe
from misfired.localise.probes import PROBES
from misfired.localise.probes._common import ProbeKind, get_probe
from misfired.localise.reading import asked_here, check_reading, told_by_run
from misfired.localise.result import Localisation
from misfired.localise.run import RunData, check_base, read_run
from misfired.localise.selection import Selection, select
from misfired.options import takes_options
from misfired.progress import Listener, listener
from misfired.scoring.llama.guard import try_loading
from misfired.scoring.llama.library import versions
from misfired.scoring.llama.model import Model, open_model
from misfired.stats.means import Floats

#: The model that made the run, as tables name it; the other is `base`.
MODEL, BASE = "instruct", "base"


@takes_options(LocaliseOptions)
def localise(
    model: Path | str,
    run: Path | str,
    *,
    base: Path | str | None = None,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Localisation:
    """Find where in a model the evidence is overruled.

    The failures of a run (stereotyped prompt wrong, contrast prompt right) are studied beside as many
    controls of the same categories (both right), or of others where whole categories fail. What is
    reported is the evidence: the margin of yes for the true question minus that for the false question
    about the same story, which a leaning to yes or no does not move. The false questions are those of the
    suite's twins, or built by the rules of `misfired.suites.false_questions`. If no failure has any,
    margins of the right answer are reported instead, with the words "may be a leaning".

    Args:
        model: The GGUF file that the run was made with.
        run: The run's folder.
        base: A base model with the same layers, heads and tokens: lens and heads are repeated on it
            with the same prompts.
        progress: Called with (tokens decoded, tokens in all), both about; or a `misfired.progress.Listener`.
        options: Fields of `LocaliseOptions`.

    Raises:
        ArgumentError: An option out of range.
        DataError: A run of another model, no failures to study, or a run that does not read its stories
            (see `misfired.verdict`), unless `anyway`.
        ModelError: A model that cannot be probed, or a base that does not match.
    """
    chosen = LocaliseOptions.of(options)
    started = time.time()
    heard = listener(progress)
    heard.stage("loading")
    if base is not None:
        try_loading(base)
    data = read_run(run, model, priming=chosen.priming)
    if not chosen.anyway:
        check_reading(told_by_run(data.verdict), data.path)
    with data.open(chosen.devices) as session:
        study = _Study(data, select(session, data, chosen), chosen, heard)
        study.probe_model(session.model, with_base=base is not None)
        if base is not None:
            with open_model(base, chosen.devices) as other:
                check_base(session.model, other, data.pairs["stereotyped"].to_list()[:16])
                study.probe_base(other)
                other.file.check()
                other_sha256 = other.file.sha256
        session.model.file.check()
    heard.stage("statistics")
    return study.found(
        model={"path": str(data.model), "sha256": data.model_sha256},
        base=None if base is None else {"path": str(base), "sha256": other_sha256},
        run=str(run),
        times={"started": started, "seconds": time.time() - started},
    )


class _Study:
    """The work of one call of `localise`, model after model."""

    def __init__(
        self, data: RunData, selection: Selection, options: LocaliseOptions, heard: Listener
    ) -> None:
        self.data, self.selection, self.options, self.heard = data, selection, options, heard
        self.reading = told_by_run(data.verdict)
        self.kinds = {name: get_probe(name) for name in PROBES if name in options.probes}
        self.on_base = {name: kind for name, kind in self.kinds.items() if kind.on_base}
        self.rows: dict[str, list[pl.DataFrame]] = {}
        self.tables: dict[str, pl.DataFrame] = {}
        self.checks: dict[str, Any] = {}
        self.margins: list[Floats] = []
        self.done, self.total = 0, 0

    def probe_model(self, model: Model, *, with_base: bool) -> None:
        """Run all probes on the model under study, and test the heads that they find."""
        tested = self.selection.tested
        n_sets = 1 + self.options.n_random
        with self._probe(model) as probe:
            if tested:
                check_n_heads(probe, self.options)
            self._ask_whether_it_reads(probe)
            self.total = _n_tokens(tested, n_sets)
            self.total += self._work(probe, self.kinds)
            self.total += self._work(probe, self.on_base) if with_base else 0
            self._check(probe, MODEL)
            self._sweep(probe, MODEL, self.kinds)
            if tested:
                rows = pl.concat(self.rows["heads"]).filter(method=CHOOSING_METHOD)
                self.tables["ablation"] = ablation_test(
                    probe, rows, self.selection.chosen_on, tested, self.options,
                    progress=lambda cases: self._advance(_n_tokens(cases, n_sets)),
                )  # fmt: skip

    def probe_base(self, model: Model) -> None:
        """Repeat some probes on a base model."""
        with self._probe(model) as probe:
            self._check(probe, BASE)
            self._sweep(probe, BASE, self.on_base)

    def _probe(self, model: Model) -> Probe:
        n_longest, options = self.selection.longest, self.options
        return Probe(model, longest=n_longest, n_threads=options.n_threads, mode=options.mode)

    def _ask_whether_it_reads(self, probe: Probe) -> None:
        """Ask the false questions where the run has none, and refuse a model that does not read."""
        if self.selection.asked:
            self.reading = asked_here(probe, self.selection.asked, self.options)
        if not self.options.anyway:
            check_reading(self.reading, self.data.path)

    def _check(self, probe: Probe, name: str) -> None:
        self.heard.stage("check" if name == MODEL else f"check {name}")
        found = check_probe(probe, self.selection.cases[0].prompts[:2])
        self.checks[name] = found | {"n_cells": probe.n_ctx}

    def _sweep(self, probe: Probe, name: str, kinds: dict[str, ProbeKind]) -> None:
        """Make the rows of all cases, some at a time."""
        self.heard.stage("probing" if name == MODEL else f"probing {name}")
        self._advance(0)
        selection, options, check = self.selection, self.options, self.checks[name]
        prepared = {
            key: kind.prepare(probe, selection.cases, options)
            for key, kind in kinds.items()
            if kind.prepare is not None
        }
        # Failures and controls are kept apart: not every probe takes both.
        first = 0
        for cases in (selection.failures, selection.controls):
            taking = self._taking(kinds, cases)
            with_spans = any(kind.with_spans for kind in taking.values())
            for chunk in chunks(probe, cases, with_spans=with_spans, first=first):
                chunk.noise = redecoding(chunk)
                check["redecoding"] = max(check["redecoding"], chunk.noise)
                for key, kind in taking.items():
                    if kind.sweep is not None:
                        self._keep(key, name, kind.sweep(chunk, options, prepared.get(key)))
                if name == MODEL:
                    ends = np.cumsum([len(case.prompts) for case in chunk.cases])[:-1]
                    self.margins += np.split(chunk.margins, ends)
                self._advance(_n_tokens(chunk.cases, self._n_runs(probe, taking)))
            first += len(cases)
        for key, kind in kinds.items():
            if kind.sweep_all is not None:
                self._keep(key, name, kind.sweep_all(probe, selection.cases))
                self._advance(_n_tokens(selection.cases))

    def _taking(self, kinds: dict[str, ProbeKind], cases: list[Case]) -> dict[str, ProbeKind]:
        """Return the probes that take these cases."""
        all_of_them = cases is self.selection.failures
        return {key: kind for key, kind in kinds.items() if kind.on_controls or all_of_them}

    def _n_runs(self, probe: Probe, kinds: dict[str, ProbeKind]) -> int:
        return sum(kind.n_runs(probe, self.options) for kind in kinds.values())

    def _work(self, probe: Probe, kinds: dict[str, ProbeKind]) -> int:
        """Return about how many tokens `_sweep` decodes."""
        selection = self.selection
        n_whole = sum(kind.sweep_all is not None for kind in kinds.values())
        return n_whole * _n_tokens(selection.cases) + sum(
            _n_tokens(cases, self._n_runs(probe, self._taking(kinds, cases)))
            for cases in (selection.failures, selection.controls)
        )

    def _keep(self, probe: str, model: str, frame: pl.DataFrame | None) -> None:
        if frame is not None:
            labelled = frame.select(pl.lit(model).alias("model"), pl.all())
            self.rows.setdefault(probe, []).append(labelled)

    def _advance(self, n: int) -> None:
        self.done += n
        self.heard(self.done, self.total)

    def found(self, **provenance: Any) -> Localisation:
        """Make the tables, and the manifest, which ends with what is given."""
        rows = {name: pl.concat(frames) for name, frames in self.rows.items()}
        tables, figures = dict(self.tables), []
        for name, kind in self.kinds.items():
            if name in rows:
                tables |= {key: make(rows[name], self.options) for key, make in kind.tables.items()}
                if kind.figures is not None:
                    figures.append(kind.figures(rows[name], self.options))
        if figures:
            tables["figures"] = pl.concat(figures)
        manifest = {
            "settings": {**asdict(self.options), "methods": self.options.head_methods},
            "check": self.checks,
            "reading": self.reading,
            **self.selection.summary(),
            "versions": versions(),
            **provenance,
        }
        filled = {name: table for name, table in tables.items() if table.width}
        return Localisation(self.selection.table(self.margins), rows, filled, manifest)


def _n_tokens(cases: Sequence[Case], n_runs: int = 0) -> int:
    """Return the tokens of all prompts, with `n_runs` interventions of one token on each."""
    return sum(len(prompt.ids) + n_runs for case in cases for prompt in case.prompts)
