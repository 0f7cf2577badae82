"""`localise`: all probes on the failures of a run and on their matched controls."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from misfired.localise.ablation import (
    CHOOSING_METHOD,
    ablation_test,
    check_n_heads,
    split_scenarios,
    why_untested,
)
from misfired.localise.cases import FAILED, Case, build_cases, longest
from misfired.localise.check import check_probe, redecoding
from misfired.localise.held import chunks
from misfired.localise.options import LocaliseOptions
from misfired.localise.probe import Probe
from misfired.localise.probes import PROBES
from misfired.localise.probes._common import ProbeKind, get_probe
from misfired.localise.reading import asked_here, check_reading, choose_asked, told_by_run
from misfired.localise.result import Localisation
from misfired.localise.run import RunData, check_base, read_run
from misfired.options import takes_options
from misfired.progress import Listener, listener
from misfired.prompts.primings import CONDITIONS
from misfired.scoring.llama.guard import try_loading
from misfired.scoring.llama.library import versions
from misfired.scoring.llama.model import Model, open_model
from misfired.scoring.llama.session import Session
from misfired.suites.false_questions import false_questions

#: The model that made the run, as tables name it; the other is `base`.
MODEL, BASE = "instruct", "base"

#: Types of columns of `cases` that may be null throughout.
_CASES = {
    "evidence_stereotyped": pl.Float64(),
    "evidence_contrast": pl.Float64(),
    "unaligned": pl.String(),
}


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
    controls of the same categories (both right). What is reported is the evidence: the margin of yes for
    the true question minus that for the false question about the same story, which a leaning to yes or no
    does not move. The false questions are those of the suite's twins, or built by the rules of
    `misfired.suites.false_questions`. If no failure has any, margins of the right answer are reported instead,
    with the words "may be a leaning".

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
        study = _Study(session, data, chosen, heard, with_base=base is not None)
        study.probe_model(MODEL, session.model)
        if base is not None:
            with open_model(base, chosen.devices) as other:
                check_base(session.model, other, data.pairs["stereotyped"].to_list()[:16])
                study.probe_model(BASE, other)
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
        self,
        session: Session,
        data: RunData,
        options: LocaliseOptions,
        heard: Listener,
        *,
        with_base: bool,
    ) -> None:
        self.options, self.heard, self.data = options, heard, data
        self.models = (MODEL, BASE) if with_base else (MODEL,)
        self.reading = told_by_run(data.verdict)
        self.kinds = {name: get_probe(name) for name in PROBES if name in options.probes}

        self.false = false_questions(data.pairs)
        twinned = self.false.drop_nulls("stereotyped")["id"].to_list()
        self.evidence = data.outcomes.filter(FAILED, pl.col("id").is_in(twinned)).height > 0
        asked = self.false if self.evidence else None

        def build(chosen: pl.DataFrame) -> list[Case]:
            return build_cases(data.pairs, chosen, session, data.priming, asked)

        among = twinned if self.evidence else None
        drawn = data.choose(n_pairs=options.n_pairs, seed=options.seed, among=among)
        cases = build(drawn)
        self.failures = [case for case in cases if case.kind == "failure"]
        self.controls = [case for case in cases if case.kind == "control"]
        self.cases = [*self.failures, *self.controls]
        self.tested: list[Case] = []
        self.untested: str | None = None
        if "heads" in options.probes and CHOOSING_METHOD in options.head_methods:
            self.chosen_on, tested = split_scenarios(data.outcomes, seed=options.seed)
            self.untested = why_untested(self.failures, self.chosen_on, tested)
            self.tested = build(tested) if self.untested is None else []
        self.asked: list[Case] = []
        if self.reading["reads"] is None and self.evidence:
            known = data.outcomes.filter(pl.col("id").is_in(twinned))
            self.asked = build(choose_asked(known))
        self.rows: dict[str, list[pl.DataFrame]] = {}
        self.tables: dict[str, pl.DataFrame] = {}
        self.checks: dict[str, Any] = {}
        self.margins: list[list[float]] = []
        self.done, self.total = 0, 0

    def probe_model(self, name: str, model: Model) -> None:
        """Run all probes on the model under study, and some on a base."""
        options = self.options
        n_longest = longest([*self.cases, *self.tested, *self.asked])
        kinds = self._kinds_on(name)
        with Probe(
            model, longest=n_longest, n_threads=options.n_threads, mode=options.mode
        ) as probe:
            if name == MODEL:
                if self.tested:
                    check_n_heads(probe, options)
                self._ask_whether_it_reads(probe)
                self.total = sum(self._work(probe, self._kinds_on(each)) for each in self.models)
                self.total += self._work_of_test(self.tested)
            of = "" if name == MODEL else f" {name}"
            self.heard.stage(f"check{of}")
            check = check_probe(probe, self.cases[0].prompts[:2])
            self.checks[name] = check | {"n_cells": probe.n_ctx}
            self.heard.stage(f"probing{of}")
            self._advance(0)
            self._sweep(probe, name, kinds)
            for key, kind in kinds.items():
                if kind.sweep_all is not None:
                    self._keep(key, name, kind.sweep_all(probe, self.cases))
                    self._advance(_n_tokens(self.cases))
            if name == MODEL and self.tested:
                rows = pl.concat(self.rows["heads"]).filter(method=CHOOSING_METHOD)
                self.tables["ablation"] = ablation_test(
                    probe, rows, self.chosen_on, self.tested, options,
                    progress=lambda cases: self._advance(self._work_of_test(cases)),
                )  # fmt: skip

    def _kinds_on(self, name: str) -> dict[str, ProbeKind]:
        return {key: kind for key, kind in self.kinds.items() if name == MODEL or kind.on_base}

    def _sweep(self, probe: Probe, name: str, kinds: dict[str, ProbeKind]) -> None:
        """Make the rows of all cases, some at a time."""
        options = self.options
        prepared = {
            key: kind.prepare(probe, self.cases, options)
            for key, kind in kinds.items()
            if kind.prepare is not None
        }
        # Failures and controls are kept apart: not every probe takes both.
        for cases, first in ((self.failures, 0), (self.controls, len(self.failures))):
            taking = {
                key: kind
                for key, kind in kinds.items()
                if kind.on_controls or cases is self.failures
            }
            with_spans = any(kind.with_spans for kind in taking.values())
            for chunk in chunks(probe, cases, with_spans=with_spans, first=first):
                chunk.noise = redecoding(chunk)
                self.checks[name]["redecoding"] = max(self.checks[name]["redecoding"], chunk.noise)
                for key, kind in taking.items():
                    if kind.sweep is not None:
                        self._keep(key, name, kind.sweep(chunk, options, prepared.get(key)))
                if name == MODEL:
                    ends = np.cumsum([len(case.prompts) for case in chunk.cases])[:-1]
                    self.margins += [part.tolist() for part in np.split(chunk.margins, ends)]
                self._advance(self._work_of_sweep(probe, kinds, chunk.cases))

    def _work(self, probe: Probe, kinds: dict[str, ProbeKind]) -> int:
        n_sweeps = sum(kind.sweep_all is not None for kind in kinds.values())
        return self._work_of_sweep(probe, kinds, self.cases) + n_sweeps * _n_tokens(self.cases)

    def _work_of_sweep(
        self, probe: Probe, kinds: dict[str, ProbeKind], cases: Sequence[Case]
    ) -> int:
        """Return about how many tokens the sweeps of these cases decode."""
        n_runs = sum(kind.n_runs(probe, self.options) for kind in kinds.values())
        n_prompts = sum(len(case.prompts) for case in cases if case.kind == "failure")
        return _n_tokens(cases) + n_runs * n_prompts

    def _work_of_test(self, cases: Sequence[Case]) -> int:
        n_prompts = sum(len(case.prompts) for case in cases)
        return _n_tokens(cases) + n_prompts * (1 + self.options.n_random)

    def _ask_whether_it_reads(self, probe: Probe) -> None:
        """Ask the false questions where the run has none, and refuse a model that does not read."""
        if self.asked:
            self.reading = asked_here(probe, self.asked, self.options)
        if not self.options.anyway:
            check_reading(self.reading, self.data.path)

    def _keep(self, probe: str, model: str, frame: pl.DataFrame | None) -> None:
        if frame is not None:
            labelled = frame.select(pl.lit(model).alias("model"), pl.all())
            self.rows.setdefault(probe, []).append(labelled)

    def _advance(self, n: int) -> None:
        self.done += n
        self.heard(self.done, self.total)

    def _false_questions(self) -> dict[str, Any]:
        """Count the pairs of the suite with false questions, and why the others have none."""
        counted = self.false.drop_nulls("reason")["reason"].value_counts(sort=True)
        reasons = dict(counted.iter_rows())
        return {"n_pairs": len(self.false) - sum(reasons.values()), "none": reasons}

    def _table_of_cases(self) -> pl.DataFrame:
        rows = []
        for case, margins in zip(self.cases, self.margins, strict=True):
            sides = np.reshape(margins, (-1, 2))
            evidence = sides.sum(axis=0).tolist() if len(sides) == 2 else (None, None)
            named = {
                f"{name}_{condition}": value
                for name, values in (("margin", sides[0].tolist()), ("evidence", evidence))
                for condition, value in zip(CONDITIONS, values, strict=True)
            }
            rows.append({**case.keys, **named, "unaligned": case.unaligned})
        return pl.DataFrame(rows, schema_overrides=_CASES, infer_schema_length=None)

    def found(self, **provenance: Any) -> Localisation:
        """Make the tables, and the manifest, which ends with what is given."""
        cases = self._table_of_cases()
        rows = {name: pl.concat(frames) for name, frames in self.rows.items()}
        tables, figures = dict(self.tables), []
        for name, kind in self.kinds.items():
            if name in rows:
                tables |= {key: make(rows[name], self.options) for key, make in kind.tables.items()}
                if kind.figures is not None:
                    figures.append(kind.figures(rows[name], self.options))
        if figures:
            tables["figures"] = pl.concat(figures)
        unaligned = [case.id for case in self.cases if case.unaligned is not None]
        manifest = {
            "settings": {**asdict(self.options), "methods": self.options.head_methods},
            "check": self.checks,
            "n_failures": len(self.failures),
            "n_controls": len(self.controls),
            "n_tested": len(self.tested),
            "untested": self.untested,
            "reading": self.reading,
            "quantity": "evidence" if self.evidence else "margin",
            "false_questions": self._false_questions(),
            "n_unaligned": len(unaligned),
            "unaligned": unaligned,
            "versions": versions(),
            **provenance,
        }
        filled = {name: table for name, table in tables.items() if table.width}
        return Localisation(cases, rows, filled, manifest)


def _n_tokens(cases: Sequence[Case]) -> int:
    return sum(len(prompt.ids) for case in cases for prompt in case.prompts)
