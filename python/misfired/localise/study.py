"""`localise`: all probes on the failures of a run and on their matched controls."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import polars as pl

from misfired.localise.ablation import ablation_test, split_scenarios, tested_pairs
from misfired.localise.cases import Case, build_cases, choose_cases
from misfired.localise.check import check_probe, redecoding
from misfired.localise.held import Chunk, chunks
from misfired.localise.options import LocaliseOptions
from misfired.localise.probe import Probe
from misfired.localise.probes import PROBES, get_probe
from misfired.localise.result import Localisation
from misfired.localise.run import RunData, check_base, read_run
from misfired.options import takes_options
from misfired.scoring.llama.guard import open_model, try_loading
from misfired.scoring.llama.library import versions
from misfired.scoring.llama.model import Model, model_sha256
from misfired.scoring.llama.session import Session
from misfired.scoring.options import Devices

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
    controls of the same categories (both right).

    Args:
        model: The GGUF file that the run was made with.
        run: The run's folder.
        base: A base model with the same layers, heads and tokens: lens and heads are repeated on it
            with the same prompts.
        progress: Called with (units of work done, units in all).
        options: Fields of `LocaliseOptions`.

    Raises:
        ArgumentError: An option out of range.
        DataError: A run of another model, or no failures to study.
        ModelError: A model that cannot be probed, or a base that does not match.
    """
    chosen = LocaliseOptions.of(options)
    started = time.time()
    if base is not None:
        try_loading(base)
    data = read_run(run, model, priming=chosen.priming)
    with data.open(chosen.n_gpu_layers) as session:
        study = _Study(session, data, chosen, progress)
        study.probe_model(MODEL, session.model)
        if base is not None:
            with open_model(base, Devices(n_gpu_layers=chosen.n_gpu_layers)) as other:
                check_base(session.model, other, data.pairs["stereotyped"].to_list()[:16])
                study.probe_model(BASE, other)
    found = study.found()
    found.manifest.update(
        model={"path": str(model), "sha256": model_sha256(Path(model))},
        base=None if base is None else {"path": str(base), "sha256": model_sha256(Path(base))},
        run=str(run),
        times={"started": started, "seconds": time.time() - started},
    )
    return found


class _Study:
    """The work of one call of `localise`, model after model."""

    def __init__(
        self,
        session: Session,
        data: RunData,
        options: LocaliseOptions,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.options, self.progress = options, progress
        self.kinds = {name: get_probe(name) for name in PROBES if name in options.probes}

        def build(chosen: pl.DataFrame) -> list[Case]:
            return build_cases(data.pairs, chosen, session, priming=data.priming)

        cases = build(choose_cases(data.outcomes, n_pairs=options.n_pairs, seed=options.seed))
        self.failures = [case for case in cases if case.kind == "failure"]
        self.controls = [case for case in cases if case.kind == "control"]
        self.cases = [*self.failures, *self.controls]
        self.tested: list[Case] = []
        if "heads" in options.probes:
            self.split = split_scenarios(data.outcomes, seed=options.seed)
            self.tested = build(tested_pairs(data.outcomes, self.split))
        self.rows: dict[str, list[pl.DataFrame]] = {}
        self.tables: dict[str, pl.DataFrame] = {}
        self.checks: dict[str, Any] = {}
        self.margins: list[list[float]] = []
        self.done, self.total = 0, 2 * len(self.cases) + len(self.tested)

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt."""
        cases = [*self.cases, *self.tested]
        return max(len(prompt.ids) for case in cases for prompt in case.prompts)

    def probe_model(self, name: str, model: Model) -> None:
        """Run all probes on the model under study, and some on a base."""
        options = self.options
        kinds = {key: kind for key, kind in self.kinds.items() if name == MODEL or kind.on_base}
        with Probe(
            model, longest=self.longest, n_threads=options.n_threads, mode=options.mode
        ) as probe:
            self.checks[name] = check_probe(probe, self.cases[0].prompts)
            self.checks[name]["n_cells"] = probe.n_ctx
            prepared = {
                key: kind.prepare(probe, self.cases, options)
                for key, kind in kinds.items()
                if kind.prepare is not None
            }
            first = 0
            # Chunks of failures and of controls are kept apart.
            for part in [*chunks(self.failures, probe), *chunks(self.controls, probe)]:
                self._sweep(name, probe, part, first, prepared)
                first += len(part)
            for key, kind in kinds.items():
                if kind.sweep_all is not None:
                    self._keep(key, name, kind.sweep_all(probe, self.cases))
            if name == MODEL and "heads" in kinds:
                self._test_heads(probe)

    def _sweep(
        self, name: str, probe: Probe, part: Sequence[Case], first: int, prepared: dict[str, Any]
    ) -> None:
        """Decode the prompts of some pairs once and run all sweeps on them."""
        kinds = {
            key: kind
            for key, kind in self.kinds.items()
            if (name == MODEL or kind.on_base) and (part[0].kind == "failure" or kind.on_controls)
        }
        with_spans = any(kind.with_spans for kind in kinds.values())
        chunk = Chunk.hold(probe, part, with_spans=with_spans, first=first)
        check = self.checks[name]
        check["redecoding"] = max(check["redecoding"], redecoding(chunk.held))
        for key, kind in kinds.items():
            if kind.sweep is not None:
                self._keep(key, name, kind.sweep(chunk, self.options, prepared.get(key)))
        if name == MODEL:
            self.margins += chunk.margins.tolist()
            self._advance(2 * len(part))

    def _keep(self, probe: str, model: str, frame: pl.DataFrame | None) -> None:
        if frame is not None:
            labelled = frame.select(pl.lit(model).alias("model"), pl.all())
            self.rows.setdefault(probe, []).append(labelled)

    def _advance(self, n: int) -> None:
        self.done += n
        if self.progress is not None:
            self.progress(min(self.done, self.total), self.total)

    def _test_heads(self, probe: Probe) -> None:
        table = ablation_test(
            probe,
            pl.concat(self.rows["heads"]),
            self.split,
            self.tested,
            options=self.options,
            progress=self._advance,
        )
        if table is not None:
            self.tables["ablation"] = table

    def found(self) -> Localisation:
        """Summarise everything that was kept."""
        rows = {name: pl.concat(frames) for name, frames in self.rows.items()}
        tables, figures = dict(self.tables), []
        for name, kind in self.kinds.items():
            if name not in rows:
                continue
            tables |= {table: make(rows[name], self.options) for table, make in kind.tables.items()}
            if kind.figures is not None:
                figures.append(kind.figures(rows[name], self.options))
        if figures:
            tables["figures"] = pl.concat(figures, how="diagonal_relaxed")
        tables = {name: table for name, table in tables.items() if table.width}
        return Localisation(self._case_table(), rows, tables, self._manifest())

    def _case_table(self) -> pl.DataFrame:
        names = ("id", "category", "scenario", "kind")
        return pl.DataFrame(
            {
                **{name: [getattr(case, name) for case in self.cases] for name in names},
                "margin_stereotyped": [margins[0] for margins in self.margins],
                "margin_contrast": [margins[1] for margins in self.margins],
                "unaligned": pl.Series([case.unaligned for case in self.cases], dtype=pl.String),
            }
        )

    def _manifest(self) -> dict[str, Any]:
        unaligned = [case.id for case in self.cases if case.unaligned is not None]
        settings = {each.name: getattr(self.options, each.name) for each in fields(self.options)}
        return {
            "settings": {**settings, "methods": self.options.head_methods},
            "check": self.checks,
            "n_failures": len(self.failures),
            "n_controls": len(self.controls),
            "n_tested": len(self.tested),
            "n_unaligned": len(unaligned),
            "unaligned": unaligned,
            "versions": versions(),
        }
